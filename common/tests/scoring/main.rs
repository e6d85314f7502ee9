mod random; mod xgb;
