-- Create two databases, each owned by its own unprivileged role.
-- Encoding and collation match the local stack, regardless of the image's locale.
-- PostgreSQL's image runs this script once, on an empty volume.
\getenv reviews_password REVIEWS_DATABASE_PASSWORD
\getenv mlflow_password MLFLOW_DATABASE_PASSWORD
CREATE ROLE reviews LOGIN PASSWORD :'reviews_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE DATABASE reviews OWNER reviews TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
CREATE DATABASE mlflow OWNER mlflow TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
REVOKE CONNECT ON DATABASE reviews, mlflow FROM PUBLIC;
