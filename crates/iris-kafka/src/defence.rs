//! The defences behind the guarantees, by name, so that a test build can switch one of them off.
//!
//! A test that never fails proves nothing. With the feature `sabotage`, which no released binary has, the environment
//! variable `IRIS_SABOTAGE` switches one defence off, and a fault test shows that records are then lost or duplicated.
//! Without the feature every defence is constantly on.

/// A measure that keeps records from being lost or duplicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// A producer whose last call has an unknown outcome is discarded and built again.
    Rebuild,
    /// A restarted worker uses its predecessor's transactional id, which fences the predecessor.
    StableId,
    /// Offsets are sent only with proof that the consumer is a member of its group.
    Membership,
    /// Records that the client redelivers are skipped.
    Position,
    /// A new producer aborts what its predecessors have left open, in a cluster of one broker.
    Settle,
    /// The sink resumes at the offsets that are stored with the rows.
    StoreOffsets,
}

impl Defence {
    /// Every defence.
    pub const ALL: [Self; 6] = [
        Self::Rebuild,
        Self::StableId,
        Self::Membership,
        Self::Position,
        Self::Settle,
        Self::StoreOffsets,
    ];

    /// Returns the name that switches the defence off.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild",
            Self::StableId => "stable-id",
            Self::Membership => "membership",
            Self::Position => "position",
            Self::Settle => "settle",
            Self::StoreOffsets => "store-offsets",
        }
    }

    /// Returns the defence that the environment switches off, if any.
    ///
    /// # Errors
    /// A message for the user, if no defence has that name or this build cannot switch defences off.
    pub fn switched_off() -> Result<Option<Self>, String> {
        let Some(name) = std::env::var(SABOTAGE_VARIABLE)
            .ok()
            .filter(|name| !name.is_empty())
        else {
            return Ok(None);
        };
        if !cfg!(feature = "sabotage") {
            return Err(format!(
                "{SABOTAGE_VARIABLE} is {name}, which this build ignores: build with --features iris-kafka/sabotage"
            ));
        }
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|defence| defence.name() == name);
        found
            .map(Some)
            .ok_or_else(|| format!("{SABOTAGE_VARIABLE} is {name}: allowed are {names}"))
    }

    /// Whether the defence is on. Only a test build can switch it off.
    #[cfg(not(feature = "sabotage"))]
    #[must_use]
    pub const fn is_on(self) -> bool {
        true
    }

    /// Whether the defence is on: it is, unless `IRIS_SABOTAGE` names it.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn is_on(self) -> bool {
        static SWITCHED_OFF: std::sync::OnceLock<Option<Defence>> = std::sync::OnceLock::new();
        let switched_off = SWITCHED_OFF.get_or_init(|| {
            let found = Self::switched_off().unwrap_or_default();
            if let Some(defence) = found {
                tracing::warn!("a defence is switched off by {SABOTAGE_VARIABLE}: {defence:?}");
            }
            found
        });
        *switched_off != Some(self)
    }
}

/// The environment variable that names the defence to switch off, in builds with the feature `sabotage`.
pub const SABOTAGE_VARIABLE: &str = "IRIS_SABOTAGE";
