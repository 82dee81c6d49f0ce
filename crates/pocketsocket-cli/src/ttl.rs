//! The wording of the start-up time: `11 milliseconds, 795 microseconds, and 685 nanoseconds`.

use std::time::Duration;

/// A time in words. Units that it does not reach are left out; those below are told, zero or not.
pub(crate) fn words(time: Duration) -> String {
    let nanos = time.subsec_nanos();
    let units = [
        (time.as_secs(), "second"),
        ((nanos / 1_000_000).into(), "millisecond"),
        ((nanos / 1_000 % 1_000).into(), "microsecond"),
        ((nanos % 1_000).into(), "nanosecond"),
    ];
    // The last unit is told even of no time at all.
    let first = units.iter().position(|(count, _)| *count > 0).unwrap_or(units.len() - 1);
    let told: Vec<String> = units[first..]
        .iter()
        .map(|(count, unit)| format!("{count} {unit}{}", if *count == 1 { "" } else { "s" }))
        .collect();
    match told.as_slice() {
        [one, other] => format!("{one} and {other}"),
        [most @ .., last] if !most.is_empty() => format!("{}, and {last}", most.join(", ")),
        _ => told.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_of_time_has_its_words() {
        for (nanos, expected) in [
            (0, "0 nanoseconds"),
            (1, "1 nanosecond"),
            (685, "685 nanoseconds"),
            (1_000, "1 microsecond and 0 nanoseconds"),
            (795_685, "795 microseconds and 685 nanoseconds"),
            (11_795_685, "11 milliseconds, 795 microseconds, and 685 nanoseconds"),
            (11_000_001, "11 milliseconds, 0 microseconds, and 1 nanosecond"),
            (1_001_001_001, "1 second, 1 millisecond, 1 microsecond, and 1 nanosecond"),
            (75_000_000_000, "75 seconds, 0 milliseconds, 0 microseconds, and 0 nanoseconds"),
        ] {
            assert_eq!(words(Duration::from_nanos(nanos)), expected);
        }
    }
}
