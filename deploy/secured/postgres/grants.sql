-- The rights of the sink and the page. Run as the owner, after `iris-feedback-sink migrate`.
\set ON_ERROR_STOP on
GRANT SELECT ON _sqlx_migrations TO iris_sink;
GRANT SELECT, INSERT ON feedback TO iris_sink;
GRANT SELECT, INSERT, UPDATE ON feedback_offsets TO iris_sink;
GRANT SELECT, INSERT ON feedback_topics TO iris_sink;
GRANT SELECT ON feedback TO iris_page;
