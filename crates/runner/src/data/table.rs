//! Tables of comma-separated values (RFC 4180): a header with column names, then a row of numbers
//! for each example. One column is the target: a class or a value.
//!
//! ```text
//! sepal,petal,species     --label species    classes: distinct texts, or values if all are numbers
//! 5.1,1.4,setosa          --target petal     regression targets
//! ```
//!
//! Columns are found by name, so names of the columns that are read must be unique.
//!
//! [`load`](super::load) reads files with this; `predict` reads rows without a target.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::Read;
use std::path::Path;

use csv::{ErrorKind, Position, ReaderBuilder, StringRecord, Trim};

use crate::data::classes::Classes;
use crate::data::error::{DataError, Fault};
use crate::data::labelled::{Inputs, Labelled, Targets};
use crate::data::rounding::Rounding;
use crate::data::{Event, Names};

/// Target column of a table, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetColumn {
    /// Column of classes.
    Label(String),
    /// Column of regression targets.
    Target(String),
}

impl TargetColumn {
    /// Name of the column.
    pub fn column(&self) -> &str {
        let (Self::Label(column) | Self::Target(column)) = self;
        column
    }
}

/// A table in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Names of the input columns.
    pub columns: Vec<String>,
    /// Names of the classes; empty for regression targets.
    pub classes: Vec<String>,
    /// Rows with their targets.
    pub rows: Labelled,
}

/// Largest number of classes: a class is a byte.
const MAX_CLASSES: usize = 256;

impl Table {
    /// Encodes the table as CSV, with the target last, in the column `target`. Reading it back
    /// gives the same bits.
    pub(crate) fn to_csv(&self, target: &str) -> Vec<u8> {
        let mut text = self.columns.iter().map(|column| format!("{column},")).collect::<String>();
        text.push_str(target);
        let numbers = match self.rows.inputs() {
            Inputs::Numbers(numbers) => &numbers[..],
            Inputs::Bytes(_) => &[],
        };
        for (at, row) in numbers.chunks_exact(self.rows.cols()).enumerate() {
            text.push('\n');
            row.iter().for_each(|number| text.push_str(&format!("{number},")));
            match self.rows.targets() {
                Targets::Classes(classes) => text.push_str(&classes[at].to_string()),
                Targets::Values(values) => text.push_str(&values[at].to_string()),
                Targets::Inputs(_) => {}
            }
        }
        text.push('\n');
        text.into_bytes()
    }
}

/// Reads the table in `input`, the contents of the file `path`. Column names must be unique.
///
/// # Errors
/// [`DataError::Malformed`], with line and column, if a field is not a finite number, a row is
/// longer or shorter than the header, the target column is missing, there is no other column or no
/// row, two columns have the same name, or there are more than 256 classes.
pub fn parse(
    input: impl Read,
    path: &Path,
    target: &TargetColumn,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Table, DataError> {
    let mut file = File::new(input, path, on_event)?;
    let at = file.column(target.column())?;
    let inputs: Vec<usize> = (0..file.header.len()).filter(|&column| column != at).collect();
    if inputs.is_empty() {
        let expected = format!("a column besides `{}`", target.column());
        return Err(DataError::malformed(path, Fault::Column, expected, "none"));
    }
    for &column in &inputs {
        file.column(&file.header[column])?;
    }
    let (mut numbers, mut texts, mut values) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(record) = file.next()? {
        file.numbers(&record, &inputs, &mut numbers)?;
        match target {
            TargetColumn::Target(_) => file.numbers(&record, &[at], &mut values)?,
            TargetColumn::Label(_) if record[at].is_empty() => {
                return Err(file.malformed(Fault::Label, "a class", &record, at));
            }
            TargetColumn::Label(_) => texts.push(record[at].to_owned()),
        }
    }
    let (targets, classes) = match target {
        TargetColumn::Target(_) => (Targets::Values(values), Vec::new()),
        TargetColumn::Label(column) => {
            let classes = Classes::collect(&texts);
            if classes.names().len() > MAX_CLASSES {
                let expected = format!(
                    "at most {MAX_CLASSES} classes in column `{column}` (for regression, name the \
                     column with --target)"
                );
                return Err(DataError::malformed(
                    path,
                    Fault::Label,
                    expected,
                    classes.names().len(),
                ));
            }
            let number = |text: &String| classes.find(text).unwrap_or(0) as u8;
            (Targets::Classes(texts.iter().map(number).collect()), classes.into_names())
        }
    };
    file.end(on_event);
    let rows = labelled(path, numbers, targets, inputs.len())?;
    let columns = inputs.into_iter().map(|column| file.header[column].to_owned()).collect();
    Ok(Table { columns, classes, rows })
}

/// Reads rows with their targets from the table in `input`, by the `names` of columns and classes
/// that a network was trained on. Ignores other columns.
///
/// # Errors
/// As for [`parse`]; and if a class is not among the names.
pub fn parse_known(
    input: impl Read,
    path: &Path,
    target: &TargetColumn,
    names: &Names,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Labelled, DataError> {
    let mut file = File::new(input, path, on_event)?;
    let inputs =
        names.columns.iter().map(|column| file.column(column)).collect::<Result<Vec<_>, _>>()?;
    let at = file.column(target.column())?;
    let known = Classes::from_names(&names.classes);
    let (mut numbers, mut classes, mut values) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(record) = file.next()? {
        file.numbers(&record, &inputs, &mut numbers)?;
        match target {
            TargetColumn::Target(_) => file.numbers(&record, &[at], &mut values)?,
            TargetColumn::Label(_) => match known.find(&record[at]) {
                Some(class) => classes.push(class as u8),
                None => {
                    let expected =
                        format!("one of the run's classes ({})", names.classes.join(", "));
                    return Err(file.malformed(Fault::Label, &expected, &record, at));
                }
            },
        }
    }
    let targets = match target {
        TargetColumn::Target(_) => Targets::Values(values),
        TargetColumn::Label(_) => Targets::Classes(classes),
    };
    file.end(on_event);
    labelled(path, numbers, targets, inputs.len())
}

/// Reads the columns `columns` of the table in `input`, row-major. Ignores other columns.
///
/// # Errors
/// As for [`parse`].
pub fn parse_rows(
    input: impl Read,
    path: &Path,
    columns: &[String],
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<f32>, DataError> {
    let mut file = File::new(input, path, on_event)?;
    let inputs = columns.iter().map(|column| file.column(column)).collect::<Result<Vec<_>, _>>()?;
    let mut numbers = Vec::new();
    while let Some(record) = file.next()? {
        file.numbers(&record, &inputs, &mut numbers)?;
    }
    file.end(on_event);
    Ok(numbers)
}

/// Joins rows of `columns` numbers and their targets; at least one row.
fn labelled(
    path: &Path,
    numbers: Vec<f32>,
    targets: Targets,
    columns: usize,
) -> Result<Labelled, DataError> {
    if targets.is_empty() {
        return Err(DataError::malformed(
            path,
            Fault::Empty,
            "at least one row below the header",
            "none",
        ));
    }
    let width = u32::try_from(columns).unwrap_or(u32::MAX);
    Labelled::table(Inputs::Numbers(numbers), targets, width)
        .map_err(|error| DataError::malformed(path, Fault::Length, "fewer than 2^32 rows", error))
}

/// Reader of a table.
struct File<'a, R> {
    path: &'a Path,
    reader: csv::Reader<R>,
    header: StringRecord,
    /// Index of the column with each name; `None` if several columns have it.
    indices: HashMap<String, Option<usize>>,
    rounding: Rounding,
}

/// Largest number of column names in a message.
const MAX_NAMES: usize = 20;

impl<'a, R: Read> File<'a, R> {
    fn new(
        input: R,
        path: &'a Path,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, DataError> {
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(input);
        let header = reader.headers().map_err(|error| unreadable(path, error))?.clone();
        if header.is_empty() {
            let expected = "a line with the names of the columns";
            return Err(DataError::malformed(path, Fault::Empty, expected, "nothing"));
        }
        let mut indices = HashMap::new();
        for (at, name) in header.iter().enumerate() {
            match indices.entry(name.to_owned()) {
                Entry::Vacant(entry) => _ = entry.insert(Some(at)),
                Entry::Occupied(mut entry) => *entry.get_mut() = None,
            }
        }
        let file = Self { path, reader, header, indices, rounding: Rounding::default() };
        if file.looks_like_data() {
            on_event(Event::Notice(&format!(
                "{}: {LIKE_DATA} ({})",
                path.display(),
                file.columns()
            )));
        }
        Ok(file)
    }

    /// `true` if every column name is a number.
    fn looks_like_data(&self) -> bool {
        self.header.iter().all(|name| name.parse::<f64>().is_ok())
    }

    /// Lists the column names, at most [`MAX_NAMES`].
    fn columns(&self) -> String {
        let first: Vec<_> = self.header.iter().take(MAX_NAMES).collect();
        match self.header.len().saturating_sub(MAX_NAMES) {
            0 => first.join(", "),
            more => format!("{}, and {more} more", first.join(", ")),
        }
    }

    /// Returns the index of the column `name`.
    fn column(&self, name: &str) -> Result<usize, DataError> {
        let malformed = |expected: String, found: String| {
            DataError::malformed(self.path, Fault::Column, expected, found)
        };
        match self.indices.get(name) {
            Some(Some(at)) => Ok(*at),
            Some(None) => {
                Err(malformed(format!("one column `{name}`"), "several of this name".into()))
            }
            None => Err(malformed(format!("a column `{name}`"), self.columns())),
        }
    }

    /// Emits the notice about precision lost by rounding, if any.
    fn end(&self, on_event: &mut dyn FnMut(Event<'_>)) {
        if let Some(notice) = self.rounding.notice(self.path) {
            on_event(Event::Notice(&notice));
        }
    }

    /// Reads the next row, if there is one.
    fn next(&mut self) -> Result<Option<StringRecord>, DataError> {
        let mut record = StringRecord::new();
        let read =
            self.reader.read_record(&mut record).map_err(|error| unreadable(self.path, error))?;
        Ok(read.then_some(record))
    }

    /// Appends the numbers in the columns `columns` of `record` to `numbers`.
    fn numbers(
        &mut self,
        record: &StringRecord,
        columns: &[usize],
        numbers: &mut Vec<f32>,
    ) -> Result<(), DataError> {
        for &column in columns {
            let text = &record[column];
            let Some(number) = text.parse::<f32>().ok().filter(|number| number.is_finite()) else {
                return Err(self.malformed(Fault::Number, "a finite number", record, column));
            };
            let header = &self.header;
            self.rounding.text(text, number, || position(record, &header[column]));
            numbers.push(number);
        }
        Ok(())
    }

    /// Creates an error about column `column` of `record`.
    fn malformed(
        &self,
        fault: Fault,
        expected: &str,
        record: &StringRecord,
        column: usize,
    ) -> DataError {
        let expected = format!("{expected} in {}", position(record, &self.header[column]));
        let found = match &record[column] {
            "" => "nothing".to_owned(),
            text => format!("`{text}`"),
        };
        DataError::malformed(self.path, fault, expected, found)
    }
}

/// Notice about a first row that looks like data, not like a header.
const LIKE_DATA: &str = "the first row is taken for the names of the columns, but looks like data: \
                         add a row of names before it";

/// Returns the position of a field, as in ``line 3, column `a` ``.
fn position(record: &StringRecord, column: &str) -> String {
    let line = record.position().map_or(0, Position::line);
    format!("line {line}, column `{column}`")
}

/// Converts an error of the parser.
fn unreadable(path: &Path, error: csv::Error) -> DataError {
    let line = |position: &Option<Position>| position.as_ref().map_or(1, Position::line);
    match error.into_kind() {
        ErrorKind::Io(cause) => DataError::io("read", path)(cause),
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let expected =
                format!("{expected_len} columns, as in the header, in line {}", line(&pos));
            DataError::malformed(path, Fault::Ragged, expected, len)
        }
        ErrorKind::Utf8 { pos, .. } => {
            let expected = format!("text in UTF-8 in line {}", line(&pos));
            DataError::malformed(path, Fault::Number, expected, "other bytes")
        }
        other => DataError::malformed(path, Fault::Ragged, "a table", format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, target: TargetColumn) -> Result<Table, String> {
        parse(text.as_bytes(), Path::new("t.csv"), &target, &mut |_| {})
            .map_err(|error| error.to_string())
    }

    /// Returns the notices about a table.
    fn notices(text: &str, target: TargetColumn) -> Vec<String> {
        let mut all = Vec::new();
        let mut on_event = |event: Event<'_>| match event {
            Event::Notice(text) => all.push(text.to_owned()),
            _ => panic!("no download"),
        };
        parse(text.as_bytes(), Path::new("t.csv"), &target, &mut on_event).expect("a table");
        all
    }

    fn label(column: &str) -> TargetColumn {
        TargetColumn::Label(column.into())
    }

    #[test]
    fn the_target_column_is_found_by_name() {
        let text = "a, kind ,b\n1,x,2.5\n-3e2 ,\"w, v\", .5\n0,x,1\n";
        let table = parsed(text, label("kind")).expect("a table");
        assert_eq!(
            (table.columns, table.classes),
            (vec!["a".into(), "b".into()], vec!["w, v".into(), "x".into()])
        );
        assert_eq!(table.rows.inputs(), &Inputs::Numbers(vec![1.0, 2.5, -300.0, 0.5, 0.0, 1.0]));
        assert_eq!(table.rows.labels(), [1, 0, 1]);
        let table = parsed("a,b\n1,2\n3,4\n", TargetColumn::Target("a".into())).expect("a table");
        assert_eq!(
            (table.rows.targets(), table.rows.cols()),
            (&Targets::Values(vec![1.0, 3.0]), 1)
        );
    }

    #[test]
    fn classes_that_are_numbers_are_in_numeric_order() {
        let table = parsed("x,y\n1,10\n1,9\n1,-1\n", label("y")).expect("a table");
        assert_eq!(table.classes, ["-1", "9", "10"]);
        assert_eq!(table.rows.labels(), [2, 1, 0]);
    }

    /// All spellings of a number are one class, named by the shortest one.
    #[test]
    fn numbers_of_one_value_are_one_class() {
        let table =
            parsed("x,y\n1,1.0\n1,0\n1,1\n1,0.0\n1,-0\n1,10e-1\n", label("y")).expect("a table");
        assert_eq!(table.classes, ["0", "1"]);
        assert_eq!(table.rows.labels(), [1, 0, 1, 0, 0, 1]);
        let table = parsed("x,y\n1,1.0\n1,1\n1,one\n", label("y")).expect("a table");
        assert_eq!(table.classes, ["1", "1.0", "one"]);
    }

    #[test]
    fn a_header_of_numbers_gives_a_notice() {
        let notices_of = notices("5.1,1.4,0\n4.9,1.5,1\n", label("0"));
        assert!(
            notices_of[0].contains("looks like data") && notices_of[0].contains("(5.1, 1.4, 0)"),
            "{notices_of:?}"
        );
        assert!(notices("a,2020,2021\n1,2,3\n", label("a")).is_empty());
        let error = parsed("0,0,5\n1,2,3\n", label("5")).expect_err("two columns `0`");
        assert!(error.contains("one column `0`, found several"), "{error}");
    }

    #[test]
    fn numbers_that_are_no_longer_distinct_give_one_notice() {
        let text = "id,x,y\n1,0.1,0\n16777217,1e-50,1\n16777219,1,1\n";
        let [notice] = &notices(text, label("y"))[..] else { panic!("one notice") };
        assert!(
            notice.contains("16777217 in line 3, column `id`, which becomes 16777216"),
            "{notice}"
        );
        assert!(notice.contains("3 of them"), "{notice}");
    }

    #[test]
    fn a_written_table_is_read_back() {
        let settings = crate::data::synthetic::Linear { samples: 10, ..Default::default() };
        let table = settings.generate(4);
        let file = table.to_csv("value");
        let target = TargetColumn::Target("value".into());
        assert_eq!(
            parse(&file[..], Path::new("t.csv"), &target, &mut |_| {}).expect("a table"),
            table
        );
    }

    #[test]
    fn rows_are_read_by_column_names() {
        let rows = |text: &str| {
            let columns = ["a".to_owned(), "b".to_owned()];
            parse_rows(text.as_bytes(), Path::new("t.csv"), &columns, &mut |_| {})
                .map_err(|error| error.to_string())
        };
        assert_eq!(rows("b,x,a\n1,?,2\n3,?,4\n"), Ok(vec![2.0, 1.0, 4.0, 3.0]));
        // Names of ignored columns need not be unique.
        assert_eq!(rows("a,note,b,note\n1,?,2,?\n"), Ok(vec![1.0, 2.0]));
        assert!(rows("a,c\n1,2\n").expect_err("no b").contains("a column `b`"));
    }

    #[test]
    fn labelled_rows_are_read_by_names_of_columns_and_classes() {
        let read = |text: &str, target: TargetColumn| {
            let text_of = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            let names = Names { columns: text_of(&["a", "b"]), classes: text_of(&["w", "x"]) };
            let path = Path::new("t.csv");
            parse_known(text.as_bytes(), path, &target, &names, &mut |_| {})
                .map_err(|error| error.to_string())
        };
        let rows = read("b,kind,note,a\n1,x,?,2\n", label("kind")).expect("a row");
        assert_eq!((rows.inputs(), rows.labels()), (&Inputs::Numbers(vec![2.0, 1.0]), &[1][..]));
        let rows = read("a,y,b\n1,-2.5,2\n", TargetColumn::Target("y".into())).expect("a row");
        assert_eq!((rows.targets(), rows.cols()), (&Targets::Values(vec![-2.5]), 2));
        for (text, expected) in [
            ("a,b\n1,2\n", "a column `kind`"),
            ("a,kind\n1,w\n", "a column `b`"),
            ("a,b,kind\n", "at least one row"),
            ("a,b,kind\n1,2,w\n1,2,y\n", "classes (w, x) in line 3, column `kind`, found `y`"),
            ("a,b,kind\n1,2,\n", "column `kind`, found nothing"),
            ("a,b,kind\n1,nan,w\n", "line 2, column `b`, found `nan`"),
        ] {
            let error = read(text, label("kind")).expect_err(text);
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn errors_name_line_and_column() {
        for (text, expected) in [
            ("", "a line with the names"),
            ("a,y\n", "at least one row"),
            ("y\n1\n", "a column besides `y`"),
            ("a,b\n1,2\n", "no such column: expected a column `y`, found a, b"),
            ("a,y,y\n1,2,3\n", "one column `y`, found several"),
            ("a,b,a,y\n1,2,3,4\n", "one column `a`, found several"),
            ("a,y\n1,2\nNaN,2\n", "a finite number in line 3, column `a`, found `NaN`"),
            ("a,y\n-inf,2\n", "line 2, column `a`, found `-inf`"),
            ("a,y\n1e39,2\n", "found `1e39`"),
            ("a,y\n1,2\n,2\n", "in line 3, column `a`, found nothing"),
            ("a,y\none,2\n", "found `one`"),
            ("a,y\n1,\n", "a class in line 2, column `y`, found nothing"),
            ("a,y\n1,2\n1,2,3\n", "2 columns, as in the header, in line 3, found 3"),
            ("a,y\n1\n", "in line 2, found 1"),
        ] {
            let error = parsed(text, label("y")).expect_err(text);
            assert!(error.starts_with("t.csv: ") && error.contains(expected), "{text:?}: {error}");
        }
        let many: String = (0..257).map(|i| format!("1,{i}\n")).collect();
        let error = parsed(&format!("a,y\n{many}"), label("y")).expect_err("too many");
        assert!(error.contains("at most 256 classes") && error.contains("--target"), "{error}");
        let utf8 = parse(&b"a,y\n\xff,1\n"[..], Path::new("t.csv"), &label("y"), &mut |_| {})
            .expect_err("no text");
        assert!(utf8.to_string().contains("UTF-8 in line 2"), "{utf8}");
    }
}
