//! The options of a run.

use crate::subject::Kind;

/// With so many viewers audio is measured in every run.
const AUDIO_VIEWERS: usize = 100;

pub(crate) struct Options {
    pub(crate) viewers: Vec<usize>,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    /// The share of packets that viewers lose.
    pub(crate) loss: f64,
    kinds: Vec<Kind>,
    /// Whether audio is measured for each number of viewers.
    audio: bool,
}

impl Options {
    /// Those of the command line; what is wrong with it.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut filter = String::new();
        let mut options = Options {
            viewers: vec![1, 10, 50, 100, 200, 400],
            seconds: 4.0,
            rounds: 2,
            loss: 0.0,
            kinds: Vec::new(),
            audio: false,
        };
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{name} needs a value"));
            match name.as_str() {
                // Cargo's.
                "--bench" => {}
                "--audio" => options.audio = true,
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
        options.kinds = vec![
            Kind::Here,
            Kind::HereOnTwoThreads,
            Kind::Bound,
            Kind::HereWithAudio,
            Kind::HereWithJoinedAudio,
        ];
        options.kinds.retain(|kind| kind.name().contains(&filter));
        let most = options.viewers.iter().max().copied().unwrap_or(0);
        match options.viewers.contains(&0) || most > 1000 || options.rounds == 0 || options.seconds < 0.5 {
            true => Err("1 to 1000 viewers, at least a round, at least half a second".into()),
            false => Ok(options),
        }
    }

    /// What is measured with so many viewers.
    pub(crate) fn kinds(&self, viewers: usize) -> Vec<Kind> {
        let audio = self.audio || viewers == AUDIO_VIEWERS;
        let is_measured = |kind: &Kind| match kind {
            Kind::HereWithAudio | Kind::HereWithJoinedAudio => audio,
            _ => true,
        };
        self.kinds.iter().copied().filter(is_measured).collect()
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} needs a number, not {text:?}"))
}
