//! The Python module `engagement_ml`, which an exported model carries: it rebuilds the matrix and predicts with XGBoost, and starts no process.

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../python/engagement_ml/", $name)))),*]
    };
}

/// The module's files, by name.
pub(super) const FILES: &[(&str, &str)] = sources![
    "__init__.py",
    "__main__.py",
    "_columns.py",
    "_errors.py",
    "_expressions.py",
    "_frames.py",
    "_matrix.py",
    "_model.py",
    "_onnx.py",
    "_predictions.py",
    "_programs.py",
    "_sql.py",
    "_store.py",
    "mlflow.py",
    "py.typed",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_file_of_the_module_is_left_out() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../python/engagement_ml");
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        let there: BTreeSet<String> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
        assert_eq!(there, FILES.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}
