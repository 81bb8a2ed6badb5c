//! A simulated sensor that measures flowers.

use std::fs;
use std::time::Duration;

use iris_core::{Dataset, Schema};
use iris_testkit::{Fixture, dataset};

use crate::pipeline::Trainer;
use crate::stream::{Pace, Stream};

/// How fast the sensor measures.
const PACE: Pace = Pace {
    interval: Duration::from_millis(10),
    backlog: 150,
};

/// The shift of the petals' length and width, in centimetres.
pub(crate) const SHIFT: (f64, f64) = (0.8, 0.27);

/// Sends measurements of the dataset's flowers, one after the other.
pub(crate) struct Sensor<'a> {
    pub(crate) stream: Stream<'a>,
    rows: Dataset,
}

impl<'a> Sensor<'a> {
    /// Connects the sensor.
    pub(crate) fn start(fixture: &'a Fixture, trainer: &Trainer) -> anyhow::Result<Self> {
        Ok(Self {
            stream: Stream::start(fixture, Schema::default(), trainer, PACE)?,
            rows: Dataset::parse(&fs::read(dataset("iris.csv"))?, &Schema::default())?,
        })
    }

    /// Sends the next `count` flowers without their classes. With `is_labelled`, a label follows each record.
    pub(crate) fn measure(
        &mut self,
        count: usize,
        is_shifted: bool,
        is_labelled: bool,
    ) -> anyhow::Result<()> {
        for _ in 0..count {
            let row = self.stream.len() % self.rows.len();
            let shift = |feature: &str| match feature {
                "PetalLengthCm" if is_shifted => SHIFT.0,
                "PetalWidthCm" if is_shifted => SHIFT.1,
                _ => 0.0,
            };
            let names = Schema::default().features;
            let features = names.iter().zip(self.rows.features(row));
            let features: Vec<f64> = features.map(|(name, &value)| value + shift(name)).collect();
            let truth = self.rows.label(row).unwrap_or_default();
            self.stream.send(&features, truth, is_labelled)?;
        }
        Ok(())
    }
}
