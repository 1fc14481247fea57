-- Two roles, so that the process that answers requests cannot change the schema:
--   tallyboard_owner  owns the tables; `tallyboard migrate` connects as it, nothing else does
--   tallyboard        reads and writes rows; `tallyboard serve` and every other command connect as it
--
-- Run it in Tallyboard's own database, as a superuser, before the first migration or after:
--   OWNER_PASSWORD=… RUN_PASSWORD=… psql --set ON_ERROR_STOP=1 --dbname tallyboard --file deploy/roles.sql
-- Running it again changes the passwords and nothing else. On Citus run it on every node before the nodes know each
-- other: neither grants on the public schema nor default privileges go from one node to the others by themselves.

\getenv owner_password OWNER_PASSWORD
\getenv run_password RUN_PASSWORD

SELECT 'CREATE ROLE tallyboard_owner' WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'tallyboard_owner') \gexec
SELECT 'CREATE ROLE tallyboard' WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'tallyboard') \gexec
ALTER ROLE tallyboard_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
ALTER ROLE tallyboard LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'run_password';

REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO tallyboard_owner, tallyboard;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO tallyboard_owner;
GRANT USAGE ON SCHEMA public TO tallyboard;

-- What is there already, and what later migrations will make.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO tallyboard;
ALTER DEFAULT PRIVILEGES FOR ROLE tallyboard_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tallyboard;
