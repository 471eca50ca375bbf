/* SPDX-License-Identifier: MIT */
/* The migrations of schemas/sql, as they are, with a NUL behind each. Listed in pg_migrate.c. */

	.section .rodata
#define FILE(symbol, path)                                                                         \
	.global symbol;                                                                            \
	.global symbol##_end;                                                                      \
	symbol : .incbin path;                                                                     \
	symbol##_end : .byte 0

FILE(lt_sql_0001, "schemas/sql/0001_tables.sql")
FILE(lt_sql_0002, "schemas/sql/0002_store.sql")
FILE(lt_sql_0003, "schemas/sql/0003_views.sql")
FILE(lt_sql_0004, "schemas/sql/0004_kafka.sql")
FILE(lt_sql_0005, "schemas/sql/0005_alerts.sql")
FILE(lt_sql_0006, "schemas/sql/0006_metricas.sql")
FILE(lt_sql_0007, "schemas/sql/0007_rollup.sql")
FILE(lt_sql_0008, "schemas/sql/0008_advance.sql")
FILE(lt_sql_0009, "schemas/sql/0009_shapes.sql")

	.section .note.GNU-stack, "", %progbits
