//! An expression is refused in one line, or has a finite number, a text or nothing for every row, the same for a batch as
//! for each of its rows.
#![no_main]

use engagement_fuzz::rows::{Batch, ROWS};
use engagement_fuzz::start;
use features::derive::{Derived, Expression};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: start(), |data: &[u8]| {
    let Ok(sql) = std::str::from_utf8(data) else { return };
    let expression = match Expression::parse("feature", sql, Some("score")) {
        Ok(expression) => expression,
        Err(error) => return assert!(!error.to_string().contains('\n'), "more than one line: {error}"),
    };
    let bound = expression.bind(&Batch::type_of);
    let batch = Batch::default();
    let whole = match expression.evaluate(&batch, ROWS) {
        Ok(values) => values,
        Err(error) => {
            assert!(bound.is_err(), "{error}");
            return assert!(!error.to_string().contains('\n'), "more than one line: {error}");
        }
    };
    // An expression that is always NULL has values, but is no feature.
    if bound.is_err() {
        return;
    }
    for row in 0..ROWS {
        let batch = batch.row(row);
        let alone = expression.evaluate(&batch, 1).expect("what is fine for a batch");
        match (&whole, &alone) {
            (Derived::Number(whole), Derived::Number(alone)) => {
                assert!(whole.len() == ROWS && (whole[row].is_finite() || whole[row].is_nan()), "{}", whole[row]);
                assert!(whole[row].to_bits() == alone[0].to_bits() || whole[row].is_nan() && alone[0].is_nan());
            }
            (Derived::Text(whole), Derived::Text(alone)) => assert_eq!(whole[row], alone[0]),
            _ => panic!("a number and a text"),
        }
    }
});
