"""The database: tables, named SQL, repositories, migrations. The only place that runs SQL."""
