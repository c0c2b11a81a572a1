//! The options of a run.

use crate::subject::Kind;

pub(crate) struct Options {
    pub(crate) viewers: Vec<usize>,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    /// The share of packets that viewers lose.
    pub(crate) loss: f64,
    pub(crate) kinds: Vec<Kind>,
}

impl Options {
    /// Those of the command line; what is wrong with it.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let (mut audio, mut filter) = (false, String::new());
        let mut options = Options {
            viewers: vec![1, 10, 50, 100, 200, 400],
            seconds: 4.0,
            rounds: 2,
            loss: 0.0,
            kinds: Vec::new(),
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                // Cargo's.
                "--bench" => {}
                "--audio" => audio = true,
                "--filter" => filter = value()?,
                "--seconds" => options.seconds = number(&name, &value()?)?,
                "--loss" => options.loss = number::<f64>(&name, &value()?)? / 100.0,
                "--rounds" => options.rounds = number(&name, &value()?)?,
                "--viewers" => {
                    let list = value()?;
                    options.viewers = list.split(',').map(|n| number(&name, n)).collect::<Result<_, _>>()?;
                }
                _ => return Err(format!("unknown option: {name}")),
            }
        }
        options.kinds = vec![Kind::Here, Kind::HereOnTwoThreads, Kind::Bound];
        options.kinds.extend(audio.then_some(Kind::HereWithAudio));
        options.kinds.retain(|kind| kind.name().contains(&filter));
        let most = options.viewers.iter().max().copied().unwrap_or(0);
        match options.viewers.contains(&0) || most > 1000 || options.rounds == 0 || options.seconds < 0.5 {
            true => Err("1 to 1000 viewers, at least a round, at least half a second".into()),
            false => Ok(options),
        }
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} needs a number, not {text:?}"))
}
