//! The number of cases that a property test tries.

use proptest::test_runner::Config;

/// The environment variable that sets it.
const VARIABLE: &str = "IRIS_TEST_CASES";

/// The number where the variable is not set: enough to find a common fault within a second.
const DEFAULT: u32 = 1_000;

/// The fewest cases of an expensive property, unless the variable asks for fewer.
const FEWEST: u32 = 100;

/// A configuration with as many cases as the environment asks for, divided by `cost`: 1 where a million cases take minutes,
/// more where they would take longer.
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
