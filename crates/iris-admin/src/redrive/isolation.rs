//! Finds the dead letters of a batch that their destination refuses, and sends the others.

use std::collections::BTreeMap;

use iris_kafka::exactly_once::{Cause, Refused};
use iris_kafka::{Fault, PartitionOffset};

use super::batch::BatchedLetter;

/// How often the same dead letters are sent again after a transaction failed for a reason that names none of them.
const MAX_RETRIES: u32 = 5;

/// The end of a transaction.
pub(super) enum TransactionEnd {
    /// It is committed.
    Committed,
    /// It is aborted, and nothing of it is visible.
    Aborted {
        /// The fault.
        fault: Fault,
        /// The dead letters that their topic refused. In a transaction with others, any of these may be the cause.
        refused: BTreeMap<PartitionOffset, Refused>,
    },
}

/// A dead letter that its destination refused, even in a transaction of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedLetter {
    /// Its partition and offset in the dead-letter topic.
    pub(super) place: PartitionOffset,
    /// The reason for which it was dead-lettered.
    pub(super) reason: String,
    /// The refusal.
    pub(super) refused: Refused,
}

/// Sends dead letters in one transaction. While it is refused, the suspected letters are removed from it; each of these is
/// then sent in a transaction of its own. Returns the letters that were refused there.
///
/// # Errors
/// The fault of a transaction in which no dead letter was refused.
pub(super) fn send(
    letters: &[BatchedLetter],
    transact: &mut dyn FnMut(&[&BatchedLetter]) -> TransactionEnd,
) -> Result<Vec<RefusedLetter>, Fault> {
    let (mut suspects, mut retries) = (Vec::new(), 0);
    let mut others: Vec<&BatchedLetter> = letters.iter().collect();
    while !others.is_empty() {
        match transact(&others) {
            TransactionEnd::Committed => break,
            TransactionEnd::Aborted { refused, .. } if !refused.is_empty() => {
                let is_suspect = |letter: &&BatchedLetter| refused.contains_key(&letter.place);
                let (found, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(is_suspect);
                suspects.extend(found);
                others = rest;
            }
            TransactionEnd::Aborted { fault, .. } => retry(fault, &mut retries)?,
        }
    }
    let mut refusals = Vec::new();
    for suspect in suspects {
        refusals.extend(send_alone(suspect, transact)?);
    }
    Ok(refusals)
}

/// Sends a dead letter in a transaction of its own. Returns its refusal, if it is refused.
fn send_alone(
    letter: &BatchedLetter,
    transact: &mut dyn FnMut(&[&BatchedLetter]) -> TransactionEnd,
) -> Result<Option<RefusedLetter>, Fault> {
    let mut retries = 0;
    loop {
        let (fault, refused) = match transact(&[letter]) {
            TransactionEnd::Committed => return Ok(None),
            TransactionEnd::Aborted { fault, mut refused } => {
                (fault, refused.remove(&letter.place))
            }
        };
        match refused {
            Some(refused) if refused.cause != Cause::Unexplained || retries >= MAX_RETRIES => {
                return Ok(Some(RefusedLetter {
                    place: letter.place,
                    reason: letter.origin.reason.clone(),
                    refused,
                }));
            }
            _ => retry(fault, &mut retries)?,
        }
    }
}

/// Counts a retry after an aborted transaction.
///
/// # Errors
/// The fault, if a retry cannot help or too many have failed.
fn retry(fault: Fault, retries: &mut u32) -> Result<(), Fault> {
    if matches!(fault, Fault::Abortable(_)) && *retries < MAX_RETRIES {
        *retries += 1;
        return Ok(());
    }
    Err(fault)
}

#[cfg(test)]
mod tests {
    use iris_kafka::{Refusal, RefusedKind};

    use super::super::batch::tests::letter;
    use super::*;

    /// A destination that refuses some letters: either it names each of them, or it refuses the whole batch.
    struct Destination {
        refuses: &'static [i64],
        cause: Cause,
        blames_batch: bool,
        sent: Vec<i64>,
        transactions: u32,
    }

    impl Destination {
        fn transact(&mut self, letters: &[&BatchedLetter]) -> TransactionEnd {
            self.transactions += 1;
            let is_refused = |letter: &&BatchedLetter| self.refuses.contains(&letter.place.offset);
            if !letters.iter().any(is_refused) {
                self.sent
                    .extend(letters.iter().map(|letter| letter.place.offset));
                return TransactionEnd::Committed;
            }
            let blamed = letters
                .iter()
                .copied()
                .filter(|l| self.blames_batch || is_refused(l));
            TransactionEnd::Aborted {
                fault: Fault::Abortable("refused".to_owned()),
                refused: blamed
                    .map(|letter| (letter.place, self.refused()))
                    .collect(),
            }
        }

        fn refused(&self) -> Refused {
            Refused {
                topic: "input".to_owned(),
                cause: self.cause,
                error: "no".to_owned(),
            }
        }
    }

    #[test]
    fn refused_letters_are_skipped_and_all_others_are_sent_once() {
        let letters: Vec<BatchedLetter> = (0..6).map(|offset| letter(0, offset)).collect();
        for refuses in [&[][..], &[2], &[0, 5], &[0, 1, 2, 3, 4, 5]] {
            for cause in [
                Cause::Size,
                Cause::Timestamp,
                Cause::Content,
                Cause::Unexplained,
            ] {
                for blames_batch in [false, true] {
                    let mut destination = Destination {
                        refuses,
                        cause,
                        blames_batch,
                        sent: Vec::new(),
                        transactions: 0,
                    };
                    let refused = send(&letters, &mut |letters| destination.transact(letters));
                    let refused = refused.unwrap();
                    let skipped: Vec<i64> = refused.iter().map(|r| r.place.offset).collect();
                    assert_eq!(skipped, refuses, "{cause:?} {blames_batch}");
                    destination.sent.extend(skipped);
                    destination.sent.sort_unstable();
                    assert_eq!(
                        destination.sent,
                        [0, 1, 2, 3, 4, 5],
                        "{cause:?} {blames_batch}"
                    );
                    let name = refused.first().map(|refused| &*refused.reason);
                    assert!(name.is_none_or(|reason| reason == "not_json"));
                }
            }
        }
    }

    #[test]
    fn a_fault_that_names_no_letter_is_retried_if_the_producer_is_usable_and_then_returned() {
        let letters = [letter(0, 0), letter(0, 1)];
        for (fault, attempts) in [
            (Fault::Abortable("again".to_owned()), 6),
            (Fault::Lost("timed out".to_owned()), 1),
            (
                Fault::NotAuthorised(Refusal {
                    kind: RefusedKind::Topic,
                    text: "no".to_owned(),
                }),
                1,
            ),
        ] {
            let mut count = 0;
            let result = send(&letters, &mut |_| {
                count += 1;
                TransactionEnd::Aborted {
                    fault: fault.clone(),
                    refused: BTreeMap::new(),
                }
            });
            assert_eq!((result, count), (Err(fault), attempts));
        }
    }
}
