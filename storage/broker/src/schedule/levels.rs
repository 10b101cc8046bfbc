//! Delays by name: RocketMQ's producers give the number of a level, and the broker says how long that is.

use std::str::FromStr;

use crate::limits::{DELAY_LEVELS_MAX, DELAY_MS_MAX};
use crate::settings::DELAY_LEVELS_MS;

const SECOND_MS: u64 = 1_000;

/// How long each level delays a message, from level 1 on. As text: numbers with a unit (`s`, `m`, `h` or `d`), separated
/// by blanks, as in RocketMQ's `messageDelayLevel`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayLevels(Vec<u64>);

/// A text that is no table of delay levels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DelayLevelsError {
    #[error("{0:?} is no delay; a number and s, m, h or d are allowed, such as 30s")]
    NoDelay(String),
    #[error("{delay:?} is longer than {max_ms} ms")]
    TooLong { delay: String, max_ms: u64 },
    #[error("it has {levels} levels; 1 to {max} are allowed")]
    Levels { levels: usize, max: usize },
}

impl Default for DelayLevels {
    fn default() -> Self {
        DelayLevels(DELAY_LEVELS_MS.to_vec())
    }
}

impl DelayLevels {
    /// Delay of a level from 1; higher ones than there are mean the highest. `None` for 0, which is no level.
    pub fn delay_ms(&self, level: usize) -> Option<u64> {
        self.0.get(level.checked_sub(1)?).or(self.0.last()).copied()
    }
}

impl FromStr for DelayLevels {
    type Err = DelayLevelsError;

    fn from_str(text: &str) -> Result<Self, DelayLevelsError> {
        let levels = text.split_ascii_whitespace().count();
        if !(1..=DELAY_LEVELS_MAX).contains(&levels) {
            return Err(DelayLevelsError::Levels { levels, max: DELAY_LEVELS_MAX });
        }
        text.split_ascii_whitespace().map(delay_ms).collect::<Result<_, _>>().map(DelayLevels)
    }
}

fn delay_ms(text: &str) -> Result<u64, DelayLevelsError> {
    let none = || DelayLevelsError::NoDelay(text.to_owned());
    let unit = text.chars().next_back().ok_or_else(none)?;
    let unit_ms = match unit {
        's' => SECOND_MS,
        'm' => 60 * SECOND_MS,
        'h' => 60 * 60 * SECOND_MS,
        'd' => 24 * 60 * 60 * SECOND_MS,
        _ => return Err(none()),
    };
    let number = text.trim_end_matches(unit);
    if number.len() + 1 != text.len()
        || !number.bytes().all(|byte| byte.is_ascii_digit())
        || number.is_empty()
    {
        return Err(none());
    }
    let too_long = || DelayLevelsError::TooLong { delay: text.to_owned(), max_ms: DELAY_MS_MAX };
    let delay = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
    delay.filter(|delay| *delay <= DELAY_MS_MAX).ok_or_else(too_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rocketmqs_own_table_is_the_default() {
        let text = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
        assert_eq!(text.parse(), Ok(DelayLevels::default()));
    }

    #[test]
    fn levels_count_from_one_and_end_with_the_last() {
        let levels: DelayLevels = " 2s  1d ".parse().unwrap();
        let delays: Vec<_> = [0, 1, 2, 3, usize::MAX].map(|level| levels.delay_ms(level)).to_vec();
        assert_eq!(delays, [None, Some(2_000), Some(86_400_000), Some(86_400_000), Some(86_400_000)]);
    }

    #[test]
    fn what_is_no_table_says_why() {
        for text in ["1", "s", "1x", "-1s", "1.5s", "1ss", "1s,5s", "１s", "1µ"] {
            assert_eq!(text.parse::<DelayLevels>(), Err(DelayLevelsError::NoDelay(text.to_owned())));
        }
        for text in ["3661d", "99999999999999999999s", "18446744073709551615d"] {
            let error = text.parse::<DelayLevels>().unwrap_err();
            assert_eq!(error, DelayLevelsError::TooLong { delay: text.to_owned(), max_ms: DELAY_MS_MAX });
        }
        assert!("3660d".parse::<DelayLevels>().is_ok());
        for (text, levels) in [(String::new(), 0), ("1s ".repeat(DELAY_LEVELS_MAX + 1), DELAY_LEVELS_MAX + 1)]
        {
            let error = text.parse::<DelayLevels>().unwrap_err();
            assert_eq!(error, DelayLevelsError::Levels { levels, max: DELAY_LEVELS_MAX });
        }
    }
}
