//! The number of cases that a property test runs.

use proptest::test_runner::Config;

/// The environment variable that sets the number of cases.
const VARIABLE: &str = "IRIS_TEST_CASES";

/// The default number: enough to find a common fault within a second.
const DEFAULT: u32 = 1_000;

/// The minimum for an expensive property, unless the variable sets a lower number.
const FEWEST: u32 = 40;

/// Returns a configuration with the number of cases from the environment divided by `cost`, which is 1 if a million cases
/// take minutes and more if they take longer.
pub(crate) fn config(cost: u32) -> Config {
    let wanted = match std::env::var(VARIABLE) {
        Ok(text) => match text.parse() {
            Ok(cases) if cases > 0 => cases,
            _ => panic!("{VARIABLE} is `{text}`: allowed is a whole number from 1"),
        },
        Err(_) => DEFAULT,
    };
    Config {
        cases: wanted.min(FEWEST.max(wanted / cost)),
        ..Config::default()
    }
}
