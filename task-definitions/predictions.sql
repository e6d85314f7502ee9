-- The predictions in Athena, for an account where stack.yaml has not made the table. Put your own bucket in, the id's name
-- and type as they are in the customers' table, and the columns of --columns, if you carry any over, after model_version.
CREATE EXTERNAL TABLE IF NOT EXISTS engagement.predictions (
  customer_id string,
  prediction double,
  model_version string
)
PARTITIONED BY (run_id string)
STORED AS PARQUET
LOCATION 's3://YOUR-BUCKET/scoring/predictions/';

-- A run's partition, once its manifest stands. The state machine does this after every successful Inference.
ALTER TABLE engagement.predictions ADD IF NOT EXISTS
  PARTITION (run_id = 'THE-RUN') LOCATION 's3://YOUR-BUCKET/scoring/predictions/run_id=THE-RUN/';
