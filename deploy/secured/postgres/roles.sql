-- The database and its users. Run once, as the superuser, when the storage is created.
\set ON_ERROR_STOP on
\set owner `cat /run/secrets/postgres-owner`
\set sink `cat /run/secrets/postgres-sink`
\set page `cat /run/secrets/postgres-page`
CREATE ROLE iris_owner LOGIN PASSWORD :'owner';
CREATE ROLE iris_sink LOGIN PASSWORD :'sink';
CREATE ROLE iris_page LOGIN PASSWORD :'page';
CREATE DATABASE iris_feedback OWNER iris_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE iris_feedback FROM PUBLIC;
GRANT CONNECT ON DATABASE iris_feedback TO iris_sink, iris_page;
\connect iris_feedback
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO iris_owner;
GRANT USAGE ON SCHEMA public TO iris_sink, iris_page;
