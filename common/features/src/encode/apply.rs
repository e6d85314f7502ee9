//! Columns into the matrix, one feature at a time, the same way in training and in scoring.

use std::borrow::Cow;
use std::collections::BTreeMap;

use polars::prelude::{Series, StringChunked};

use super::bad_rows::{BadRows, ColumnCells};
use super::expression_columns::ExpressionColumns;
use super::level_table::{LOOKED_UP_TOGETHER, LevelTable};
use super::parse_cells::{LevelTexts, levels_of_cells, numbers_of_cells, parsed_numbers, text_cells};
use super::values::{as_f32, as_levels, as_numbers, for_each_run};
use super::{Feature, FeatureSource, Kind, release_1};
use crate::derive::{Derived, Expression};
use crate::quality::FeatureTally;
use crate::spec::Range;
use columns::{CodedRows, ColumnKind, ColumnSchema, ColumnSource, LongTexts, TableSchema, is_long};
use error::{Error, Result};

/// The features of a model, ready to encode: expressions parsed, levels indexed.
#[derive(Debug)]
pub struct Encoder {
    features: Vec<BoundFeature>,
    texts: LevelTexts,
}

#[derive(Debug)]
struct BoundFeature {
    feature: Feature,
    range: Range,
    has_range: bool,
    expression: Option<Expression>,
    /// The number that stands for each level.
    levels: LevelTable,
}

/// Values of a feature, ready to be encoded.
enum FeatureValues<'a> {
    Numbers(Vec<f64>),
    Levels(Cow<'a, StringChunked>),
}

impl Encoder {
    /// Prepares the features of a model. `ranges` are the spec's valid values, by feature or column.
    ///
    /// # Errors
    /// [`Error::Model`] where an expression does not parse or levels and values do not match.
    pub fn bind(features: &[Feature], ranges: &BTreeMap<String, Range>) -> Result<Self> {
        let features = features.iter().map(|feature| BoundFeature::new(feature, ranges)).collect::<Result<_>>()?;
        Ok(Self { features, texts: LevelTexts::default() })
    }

    /// The same, whose levels were written as `texts` says.
    #[must_use]
    pub fn with_level_texts(self, texts: LevelTexts) -> Self {
        Self { texts, ..self }
    }

    /// Number of features, which is the number of columns of the matrix.
    #[must_use]
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether there are no features.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }

    /// The feature at a place of the matrix.
    #[must_use]
    pub fn feature(&self, index: usize) -> &Feature {
        &self.features[index].feature
    }

    /// The input columns that the features need, each once.
    #[must_use]
    pub fn input_columns(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in self.features.iter().flat_map(|bound| bound.feature.input_columns()) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Checks that a table has every column the features need, of the type they were learnt from. `untyped_text` is CSV,
    /// whose cells are checked one by one as they are parsed.
    ///
    /// # Errors
    /// [`Error::Data`] that names the column.
    pub fn check_schema(&self, schema: &TableSchema, untyped_text: bool, location: &str) -> Result<()> {
        for (name, learnt) in self.features.iter().flat_map(|bound| bound.feature.input_columns()) {
            let given = schema.require(name, location)?;
            // Times and durations were dates then.
            let was_accepted =
                self.texts == LevelTexts::Release1 && learnt == ColumnKind::Date && given.kind.is_temporal();
            if !untyped_text && !learnt.accepts(given.kind) && !was_accepted {
                return Err(Error::Data(format!(
                    "{location}: column \"{name}\" has {} ({}), but the model was trained on {there}: write it as {there}, or \
                     train again on data like this",
                    given.kind.describe(),
                    given.dtype,
                    there = learnt.describe()
                )));
            }
        }
        Ok(())
    }

    /// Whether a column, as it is given, has another type than the one that a feature was learnt from.
    #[must_use]
    pub fn is_of_other_type(&self, column: &ColumnSchema) -> bool {
        let mut inputs = self.features.iter().flat_map(|bound| bound.feature.input_columns());
        inputs.any(|(name, learnt)| name == column.name && !learnt.accepts(column.kind))
    }

    /// Encodes one feature of a batch: `source.rows()` numbers, NaN where missing, replace what `out` holds.
    ///
    /// # Errors
    /// [`Error::Data`] where a column is missing, damaged or of a type that does not fit.
    pub fn encode(
        &self,
        index: usize,
        source: &dyn ColumnSource,
        out: &mut Vec<f32>,
        tally: &mut FeatureTally,
        bad: &mut BadRows,
    ) -> Result<()> {
        out.clear();
        out.reserve(source.rows());
        let bound = &self.features[index];
        match &bound.expression {
            Some(expression) => bound.encode_expression(expression, source, out, tally, bad),
            None => bound.encode_column(self.texts, source, out, tally, bad),
        }
    }
}

impl BoundFeature {
    fn new(feature: &Feature, ranges: &BTreeMap<String, Range>) -> Result<Self> {
        let damaged = |problem: String| Error::Model(format!("feature \"{}\" of the model: {problem}", feature.name));
        let expression = match &feature.source {
            FeatureSource::Expression { sql, .. } => {
                Some(Expression::parse(&feature.name, sql, None).map_err(|error| damaged(error.to_string()))?)
            }
            FeatureSource::Column(_) => None,
        };
        let levels = level_table(&feature.kind).map_err(damaged)?;
        let range = range_of(feature, ranges).copied().unwrap_or_default();
        let has_range = range != Range::default();
        Ok(Self { feature: feature.clone(), range, has_range, expression, levels })
    }

    fn encode_column(
        &self,
        texts: LevelTexts,
        source: &dyn ColumnSource,
        out: &mut Vec<f32>,
        tally: &mut FeatureTally,
        bad: &mut BadRows,
    ) -> Result<()> {
        let kind = self.feature.source_kind;
        if kind == ColumnKind::Null {
            self.push_missing(source.rows(), out, tally);
            return Ok(());
        }
        let name = self.feature.source_column().unwrap_or_default();
        let is_text = (texts, kind) == (LevelTexts::Canonical, ColumnKind::Text);
        if let (Some(cells), Some(format)) = (source.raw_column(name), source.cell_format(name))
            && (is_text || self.feature.levels().is_none())
        {
            if self.feature.levels().is_some() {
                self.push_levels(cells.iter(), out, tally);
                return Ok(());
            }
            let (mut numbers, misfits) = parsed_numbers(cells.iter(), kind, format);
            if !misfits.is_empty() {
                let column = source.column(name)?;
                bad.mark_cells(ColumnCells { name, kind, cells: text_cells(&column)?, format }, &misfits);
            }
            self.push_numbers(&mut numbers, out, tally);
            return Ok(());
        }
        let is_canonical = texts == LevelTexts::Canonical && source.cell_format(name).is_none();
        if is_canonical
            && let Some(coded) = source.coded_column(name)
            && self.encode_coded(&coded, out, tally).is_some()
        {
            return Ok(());
        }
        if self.feature.levels().is_none() && self.encode_numbers(name, source, out, tally).is_some() {
            return Ok(());
        }
        let column = source.column(name)?;
        match (self.feature.levels(), source.cell_format(name)) {
            (Some(_), Some(format)) => {
                let cells = ColumnCells { name, kind, cells: text_cells(&column)?, format };
                let levels = levels_of_cells(cells, texts, bad);
                self.push_levels(levels.iter(), out, tally);
            }
            (Some(_), None) => {
                let levels = match texts {
                    LevelTexts::Canonical => as_levels(&column, kind)?,
                    LevelTexts::Release1 => release_1::levels(&column)?,
                };
                self.push_levels(levels.iter(), out, tally);
            }
            (None, Some(format)) => {
                let mut numbers =
                    numbers_of_cells(ColumnCells { name, kind, cells: text_cells(&column)?, format }, bad);
                self.push_numbers(&mut numbers, out, tally);
            }
            (None, None) => for_each_run(&column, |run| self.push_numbers(run, out, tally))?,
        }
        Ok(())
    }

    /// A feature that had no value in training: it has none now, whatever its column holds.
    fn push_missing(&self, rows: usize, out: &mut Vec<f32>, tally: &mut FeatureTally) {
        if self.feature.levels().is_some() {
            self.push_levels(std::iter::repeat_n(None, rows), out, tally);
        } else {
            self.push_numbers(&mut vec![f64::NAN; rows], out, tally);
        }
    }

    fn encode_expression(
        &self,
        expression: &Expression,
        source: &dyn ColumnSource,
        out: &mut Vec<f32>,
        tally: &mut FeatureTally,
        bad: &mut BadRows,
    ) -> Result<()> {
        let columns = ExpressionColumns::load(self.feature.input_columns(), source, bad)?;
        let derived = expression.evaluate(&columns, source.rows());
        match derived.map_err(|error| Error::Data(error.to_string()))? {
            Derived::Number(mut numbers) => self.push_numbers(&mut numbers, out, tally),
            Derived::Text(levels) => self.push_levels(levels.into_iter(), out, tally),
        }
        Ok(())
    }

    /// Dates as days until the date that the feature is relative to, where it is one of those.
    fn count_from_as_of(&self, numbers: &mut [f64]) {
        if let Kind::Date { as_of: Some(as_of) } = self.feature.kind {
            numbers.iter_mut().for_each(|number| *number = as_of - *number);
        }
    }

    fn push_numbers(&self, numbers: &mut [f64], out: &mut Vec<f32>, tally: &mut FeatureTally) {
        self.count_from_as_of(numbers);
        let first = out.len();
        out.extend(numbers.iter().map(|number| as_f32(*number)));
        tally.count_numbers(numbers, &out[first..], &self.range);
    }

    /// Whether a category is a number, and that number outside the range that the spec gives.
    fn is_out_of_range(&self, level: &str) -> bool {
        self.has_range && level.parse().is_ok_and(|number: f64| !self.range.contains(number))
    }

    /// The number of whatever is no known level.
    fn absent(&self) -> f32 {
        match self.feature.kind {
            Kind::Encoded { default, .. } => default,
            _ => f32::NAN,
        }
    }

    fn push_levels<'a>(
        &self,
        levels: impl Iterator<Item = Option<&'a str>>,
        out: &mut Vec<f32>,
        tally: &mut FeatureTally,
    ) {
        let absent = self.absent();
        self.look_up(levels, |level, known| {
            self.count_level(level, known, 1, tally);
            out.push(known.map_or(absent, |(_, number)| number));
        });
    }

    /// Counts a level that so many rows have.
    fn count_level(&self, level: Option<&str>, known: Option<(u32, f32)>, rows: u64, tally: &mut FeatureTally) {
        let place = known.map(|(place, _)| place);
        if level.is_some_and(|level| self.is_out_of_range(level)) {
            tally.count_level_out_of_range(place, rows);
        } else {
            tally.count_level_of_rows(level.is_some(), place, rows);
        }
    }

    /// Encodes numbers as they are read. None, and nothing counted, where they cannot be read so to the end.
    fn encode_numbers(
        &self,
        name: &str,
        source: &dyn ColumnSource,
        out: &mut Vec<f32>,
        tally: &mut FeatureTally,
    ) -> Option<()> {
        let counted = tally.clone();
        let read = source.numbers(name, &mut |run| self.push_numbers(run, out, tally));
        if read.is_none() {
            out.clear();
            *tally = counted;
        }
        read
    }

    /// Encodes each value that rows share once. None, and nothing counted, where a value cannot be encoded: it may be that of no row.
    fn encode_coded(&self, coded: &[CodedRows], out: &mut Vec<f32>, tally: &mut FeatureTally) -> Option<()> {
        let values: Vec<FeatureValues<'_>> =
            coded.iter().map(|rows| self.values(rows.values())).collect::<Result<_>>().ok()?;
        for (rows, values) in coded.iter().zip(values) {
            let counts = rows.counts();
            // Last what stands for none.
            let encoded: Vec<f32> = match values {
                FeatureValues::Numbers(mut numbers) => {
                    numbers.push(f64::NAN);
                    self.count_from_as_of(&mut numbers);
                    let narrow: Vec<f32> = numbers.iter().map(|number| as_f32(*number)).collect();
                    tally.count_numbers_of_rows(&numbers, &narrow, &counts, &self.range);
                    narrow
                }
                FeatureValues::Levels(levels) => {
                    let (absent, mut encoded) = (self.absent(), Vec::with_capacity(counts.len()));
                    self.look_up(levels.iter().chain([None]), |level, known| {
                        self.count_level(level, known, counts[encoded.len()], tally);
                        encoded.push(known.map_or(absent, |(_, number)| number));
                    });
                    encoded
                }
            };
            out.extend(rows.codes().iter().map(|code| encoded[*code as usize]));
        }
        Some(())
    }

    /// Values as they are encoded.
    fn values<'a>(&self, values: &'a Series) -> Result<FeatureValues<'a>> {
        match self.feature.levels() {
            None => as_numbers(values).map(FeatureValues::Numbers),
            Some(_) => as_levels(values, self.feature.source_kind).map(FeatureValues::Levels),
        }
    }

    /// Hands each level to `push`, with its place among the learnt ones and its number, where it is one of them.
    fn look_up<'a>(
        &self,
        levels: impl Iterator<Item = Option<&'a str>>,
        mut push: impl FnMut(Option<&str>, Option<(u32, f32)>),
    ) {
        let mut long = LongTexts::default();
        let (table, numbers) = match &self.levels {
            LevelTable::Few(known) => {
                for level in levels {
                    let found = match level {
                        Some(level) if is_long(level) => *long.of(level, |level| known.get(level).copied()),
                        Some(level) => known.get(level).copied(),
                        None => None,
                    };
                    push(level, found);
                }
                return;
            }
            LevelTable::Many(table, numbers) => (table, numbers),
        };
        let mut places = [None; LOOKED_UP_TOGETHER];
        let mut together: Vec<Option<&str>> = Vec::with_capacity(LOOKED_UP_TOGETHER);
        let mut levels = levels.peekable();
        while levels.peek().is_some() {
            together.clear();
            together.extend(levels.by_ref().take(LOOKED_UP_TOGETHER));
            let number = |place: u32| (place, numbers[place as usize]);
            if together.iter().flatten().any(|level| is_long(level)) {
                for level in &together {
                    push(*level, level.and_then(|level| long.once(level, |level| table.find_one(level).map(number))));
                }
                continue;
            }
            table.find(&together, &mut places);
            for (level, place) in together.iter().zip(places) {
                push(*level, place.map(number));
            }
        }
    }
}

/// The range of a feature, under its own name or that of its column. A date counted from `as_of` has another scale than
/// its column, and so only a range of its own.
fn range_of<'a>(feature: &Feature, ranges: &'a BTreeMap<String, Range>) -> Option<&'a Range> {
    let of_column = || match feature.kind {
        Kind::Date { as_of: Some(_) } => None,
        _ => ranges.get(feature.source_column()?),
    };
    ranges.get(&feature.name).or_else(of_column)
}

/// The levels of a feature and the number that stands for each.
fn level_table(kind: &Kind) -> Result<LevelTable, String> {
    match kind {
        Kind::Category { levels } => {
            let places = (0..levels.len()).map(|place| place as f32).collect();
            Ok(LevelTable::of(levels, places))
        }
        Kind::Encoded { levels, values, .. } if levels.len() == values.len() => {
            Ok(LevelTable::of(levels, values.clone()))
        }
        Kind::Encoded { levels, values, .. } => Err(format!("{} levels have {} values", levels.len(), values.len())),
        Kind::Number | Kind::Date { .. } | Kind::Derived => Ok(LevelTable::of(&[], Vec::new())),
    }
}
