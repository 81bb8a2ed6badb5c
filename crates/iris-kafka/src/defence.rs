//! The defences that the guarantees rest on, by name, so that a test build can do without one of them.
//!
//! A test that never fails proves nothing. With the feature `sabotage`, which no released binary has, the environment
//! variable `IRIS_SABOTAGE` switches one defence off, and a storm or a test shows that records are then lost or doubled.
//! Without the feature all of this is constant.

/// One thing that keeps records from being lost or doubled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defence {
    /// A producer whose outcome is unknown is dropped and built anew.
    Rebuild,
    /// A restarted worker has the transactional id of its predecessor, and so fences it.
    StableId,
    /// Offsets are sent only with proof that the consumer is a member of its group.
    Membership,
    /// Records that the client hands out again are passed over.
    Position,
    /// The sink goes on at the offsets that are stored with the rows.
    StoreOffsets,
}

impl Defence {
    /// Every defence.
    pub const ALL: [Self; 5] = [
        Self::Rebuild,
        Self::StableId,
        Self::Membership,
        Self::Position,
        Self::StoreOffsets,
    ];

    /// The name by which it is switched off.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rebuild => "rebuild",
            Self::StableId => "stable-id",
            Self::Membership => "membership",
            Self::Position => "position",
            Self::StoreOffsets => "store-offsets",
        }
    }

    /// The one that the environment asks to do without.
    ///
    /// # Errors
    /// If there is none of that name, or this build has no such switch: what to do about it.
    pub fn switched_off() -> Result<Option<Self>, String> {
        let Some(name) = std::env::var(SABOTAGE_VARIABLE)
            .ok()
            .filter(|name| !name.is_empty())
        else {
            return Ok(None);
        };
        if !cfg!(feature = "sabotage") {
            return Err(format!(
                "{SABOTAGE_VARIABLE} is {name}, but this build heeds it not: build with --features iris-kafka/sabotage"
            ));
        }
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|defence| defence.name() == name);
        found
            .map(Some)
            .ok_or_else(|| format!("{SABOTAGE_VARIABLE} is {name}: allowed are {names}"))
    }

    /// Whether it is in force: always, but in a test build that is told otherwise.
    #[cfg(not(feature = "sabotage"))]
    #[must_use]
    pub const fn is_on(self) -> bool {
        true
    }

    /// Whether it is in force: not if `IRIS_SABOTAGE` names it.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub fn is_on(self) -> bool {
        static SWITCHED_OFF: std::sync::OnceLock<Option<Defence>> = std::sync::OnceLock::new();
        let switched_off = SWITCHED_OFF.get_or_init(|| {
            let found = Self::switched_off().unwrap_or_default();
            if let Some(defence) = found {
                tracing::warn!("doing without a defence, as told: {defence:?}");
            }
            found
        });
        *switched_off != Some(self)
    }
}

/// The environment variable that names the defence to do without, in builds with the feature `sabotage`.
pub const SABOTAGE_VARIABLE: &str = "IRIS_SABOTAGE";
