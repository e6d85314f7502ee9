//! Fixed inputs of the hot paths, the same for the micro-benchmarks and for the counts of instructions: a table with a
//! column of every kind, and a model of XGBoost's on 40 columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use columns::{ColumnKind, MemoryColumns};
use features::encode::{BadRows, Encoder, Feature, FeatureSource, Kind, learn_number};
use features::quality::{FeatureTally, Statistics};
use polars::prelude::{BooleanChunked, DataFrame, DataType, IntoColumn, IntoSeries, NamedFrom, Series};
use scoring::{Ensemble, InstructionSet, QuantizedBlock, Scorer};

use crate::random::{self, Random};
use crate::xgb::{Booster, Matrix, Table};

/// Rows of the encoded and of the written table.
pub(crate) const ROWS: usize = 16_384;
/// Rows of a scored block.
pub(crate) const BLOCK_ROWS: usize = 2_048;
const NUMERIC_COLUMNS: usize = 35;
const LEVELS: [usize; 5] = [2, 5, 12, 40, 300];
const TRAINING_ROWS: usize = 4_000;
const MODEL_SEED: u64 = 42;

/// Columns as they are read, and the features that are made of them.
pub(crate) struct Encoding {
    table: MemoryColumns,
    encoder: Encoder,
    statistics: Vec<Arc<Statistics>>,
}

impl Encoding {
    pub(crate) fn new() -> Self {
        let random = &mut Random(7);
        let numbers: Vec<Option<f64>> =
            (0..ROWS).map(|_| (!random.chance(0.05)).then(|| f64::from(random.normal()))).collect();
        let counts: Vec<i32> = (0..ROWS).map(|_| random.below(30) as i32).collect();
        let days: Vec<i32> = (0..ROWS).map(|_| 15_000 + random.below(3_000) as i32).collect();
        let flags: Vec<Option<bool>> = (0..ROWS).map(|_| (!random.chance(0.05)).then(|| random.chance(0.3))).collect();
        let plans: Vec<String> = (0..ROWS).map(|_| format!("plan-{}", random.below(4))).collect();
        let towns: Vec<String> = (0..ROWS).map(|_| format!("town-{:04}", random.below(500))).collect();
        let flags: BooleanChunked = flags.into_iter().collect();
        let columns = vec![
            Series::new("number".into(), numbers),
            Series::new("count".into(), counts),
            Series::new("day".into(), days).cast(&DataType::Date).expect("days are dates"),
            flags.into_series().with_name("flag".into()),
            Series::new("plan".into(), plans),
            Series::new("town".into(), towns),
        ];
        let table = MemoryColumns::new(ROWS, columns);
        let features = features();
        let encoder = Encoder::bind(&features, &BTreeMap::new()).expect("features that fit");
        let mut encoding = Self { table, encoder, statistics: Vec::new() };
        let learn = |feature: &Feature, encoded: &[f32]| match feature.levels() {
            Some(levels) => Statistics::of_levels(ROWS as u64, 0, 0, &vec![1; levels.len()]),
            None => learn_number(encoded),
        };
        encoding.statistics = features
            .iter()
            .enumerate()
            .map(|(index, feature)| Arc::new(learn(feature, &encoding.encode(index, &mut FeatureTally::new(None)))))
            .collect();
        encoding
    }

    fn encode(&self, feature: usize, tally: &mut FeatureTally) -> Vec<f32> {
        let mut encoded = Vec::new();
        let mut bad = BadRows::none(ROWS);
        self.encoder.encode(feature, &self.table, &mut encoded, tally, &mut bad).expect("columns that fit");
        encoded
    }

    /// Every feature, counted against its statistics as when scoring; gives something that depends on all of it.
    pub(crate) fn encode_all(&self) -> f32 {
        let mut sum = 0.0;
        for (index, statistics) in self.statistics.iter().enumerate() {
            let mut tally = FeatureTally::new(Some(Arc::clone(statistics)));
            sum += self.encode(index, &mut tally)[ROWS - 1] + tally.missing as f32;
        }
        sum
    }
}

fn features() -> Vec<Feature> {
    let feature = |name: &str, kind: Kind, source_kind: ColumnKind| Feature {
        name: name.to_owned(),
        kind,
        source: FeatureSource::Column(name.to_owned()),
        source_kind,
    };
    let levels = |name: &str, count: usize, width: usize| -> Vec<String> {
        (0..count).map(|level| format!("{name}-{level:0width$}")).collect()
    };
    let encoded = Kind::Encoded {
        levels: levels("town", 400, 4),
        values: (0..400).map(|level| level as f32 / 400.0).collect(),
        default: 0.5,
    };
    let inputs = [("number".to_owned(), ColumnKind::Float), ("count".to_owned(), ColumnKind::Integer)];
    let derived = Feature {
        source: FeatureSource::Expression {
            sql: "CASE WHEN count > 3 THEN number / NULLIF(count, 0) ELSE LN(ABS(number) + 1) END".to_owned(),
            inputs: inputs.into(),
        },
        ..feature("rate", Kind::Derived, ColumnKind::Float)
    };
    vec![
        feature("number", Kind::Number, ColumnKind::Float),
        feature("count", Kind::Number, ColumnKind::Integer),
        feature("day", Kind::Date { as_of: Some(20_000.0) }, ColumnKind::Date),
        feature("flag", Kind::Number, ColumnKind::Boolean),
        feature("plan", Kind::Category { levels: levels("plan", 4, 1) }, ColumnKind::Text),
        feature("town", encoded, ColumnKind::Text),
        derived,
    ]
}

/// A model of 60 trees, six splits deep: the same bytes every time.
pub(crate) fn model() -> Vec<u8> {
    let random = &mut Random(MODEL_SEED);
    let table = scored_table(random, TRAINING_ROWS);
    let labels = random::labels(random, &table);
    let parameters = [("max_depth", "6".to_owned()), ("tree_method", "hist".into()), ("nthread", "1".into())];
    Booster::train(&Matrix::new(&table, &labels), &parameters, 60).model()
}

fn scored_table(random: &mut Random, rows: usize) -> Table {
    random::table(random, rows, NUMERIC_COLUMNS, &LEVELS, 0.05)
}

/// A block of rows and the compiled model.
pub(crate) struct Scoring {
    scorer: Scorer,
    table: Table,
    block: QuantizedBlock,
    out: Vec<f32>,
}

impl Scoring {
    /// None where the machine does not have the instruction set.
    pub(crate) fn new(model: &[u8], instructions: InstructionSet) -> Option<Self> {
        let ensemble = Ensemble::from_ubj(model).expect("XGBoost's own model");
        let scorer = Scorer::compile_for(&ensemble, instructions).ok()?;
        let table = scored_table(&mut Random(MODEL_SEED + 1), BLOCK_ROWS);
        let mut scoring = Self { block: scorer.new_block(BLOCK_ROWS), scorer, table, out: vec![0.0; BLOCK_ROWS] };
        scoring.quantise();
        Some(scoring)
    }

    pub(crate) fn quantise(&mut self) {
        for (feature, column) in self.table.columns.iter().enumerate() {
            self.scorer.quantise(feature, column, 0, &mut self.block);
        }
    }

    pub(crate) fn score(&mut self) -> f32 {
        self.scorer.score(&mut self.block, &mut self.out);
        self.out[BLOCK_ROWS - 1]
    }
}

/// A part of predictions as it is written.
pub(crate) fn predictions() -> DataFrame {
    let random = &mut Random(9);
    let ids: Vec<i64> = (0..ROWS as i64).collect();
    let values: Vec<f64> = (0..ROWS).map(|_| f64::from(random.unit())).collect();
    let columns = vec![
        Series::new("customer_id".into(), ids).into_column(),
        Series::new("prediction".into(), values).into_column(),
        Series::new("model_version".into(), vec!["v1.2.0"; ROWS]).into_column(),
    ];
    DataFrame::new(ROWS, columns).expect("columns of one length")
}
