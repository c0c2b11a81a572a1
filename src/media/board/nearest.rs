//! "Did you mean …?" for the keys of profiles. The program also includes this file, for its settings.

/// `; did you mean "port"?`, or nothing if no candidate is similar.
pub(super) fn hint<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|found| format!("; did you mean \"{found}\"?")).unwrap_or_default()
}

/// The candidate with the fewest typing errors in `word`: at most two, or a third of its letters. Otherwise one that
/// begins with `word`.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.trim_start_matches('-').replace('-', "_").to_lowercase();
    let word = plain(word);
    let near = word.chars().count().div_ceil(3).max(2);
    let rated = candidates.map(|candidate| {
        let other = plain(candidate);
        let slips = slips(&word, &other);
        let begins = word.len() >= 3 && other.starts_with(&word);
        (if slips > near && begins { near } else { slips }, candidate)
    });
    rated.filter(|(slips, _)| *slips <= near).min_by_key(|(slips, _)| *slips).map(|(_, candidate)| candidate)
}

/// The number of letters that were added, omitted, changed, or swapped with their neighbour.
fn slips(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_similar_candidate_is_suggested() {
        let known = ["port", "max_connections", "max_message_size", "rate", "redis_url"];
        for (word, want) in [
            ("--prot", Some("port")),
            ("max-connection", Some("max_connections")),
            ("--max-conn", Some("max_connections")),
            ("redis_ulr", Some("redis_url")),
            ("RATE", Some("rate")),
            ("--colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), want, "{word}");
        }
    }
}
