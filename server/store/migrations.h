// Brings a database file to the schema that this build knows.
//
// A table `schema_version` holds one row: whose database it is and the version
// of its schema. Migrations go forward only and all in one transaction, so that
// a crash in the middle leaves the old version whole. To change a schema append
// to the store's list; never edit a step that was released.
#ifndef DASM_SERVER_STORE_MIGRATIONS_H_
#define DASM_SERVER_STORE_MIGRATIONS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "server/store/sqlite_connection.h"

namespace dasm {

// `steps[i]` is the SQL that leads from version i to i + 1; version 0 is an
// empty file. FAILED_PRECONDITION naming both versions and the remedy when the
// file is newer than `steps` or is not a `component`; else as SqliteStatus.
absl::Status Migrate(SqliteConnection& connection, const std::string& path,
                     const std::string& component,
                     absl::Span<const char* const> steps);

absl::Span<const char* const> JobStoreMigrations();
absl::Span<const char* const> TelemetryStoreMigrations();

}  // namespace dasm

#endif  // DASM_SERVER_STORE_MIGRATIONS_H_
