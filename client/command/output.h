// How results reach people and scripts: tables, or the API's messages as JSON
// and YAML. Data goes to stdout, talk to stderr.
#ifndef DASM_CLIENT_COMMAND_OUTPUT_H_
#define DASM_CLIENT_COMMAND_OUTPUT_H_

#include <ostream>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"

namespace dasm {

enum class OutputFormat { kTable, kJson, kYaml, kName };

// INVALID_ARGUMENT (field "output") for anything but table, json, yaml, name.
absl::StatusOr<OutputFormat> ParseOutputFormat(const std::string& text);

// Terminals below this width get the columns that matter most.
inline constexpr int kWideColumns = 132;

// Columns as wide as their widest cell; the last one is not padded.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void Add(std::vector<std::string> row);
  // The column that gives way first where lines are too long, by its header.
  void set_flexible(const std::string& header) { flexible_ = header; }
  // No line wider than `columns` (0: as wide as they get): the flexible
  // column's cells lose their middle, then lines their end.
  std::string ToString(int columns = 0) const;

 private:
  std::string flexible_;
  std::vector<std::vector<std::string>> rows_;
};

// Columns on a terminal.
int DisplayWidth(absl::string_view text);
// At most `columns` (at least 1) wide, with "…" for what was left out: the
// middle, so that ids keep their numbers, or the end.
std::string ElideMiddle(absl::string_view text, int columns);
std::string ElideEnd(absl::string_view text, int columns);
// Of the terminal at stderr: what the kernel says, else COLUMNS, else 80.
int TerminalColumns();

// Field names as in the .proto, unset fields left out, two spaces of indent.
std::string JsonText(const google::protobuf::Message& message);
// The same as block YAML.
std::string JsonToYaml(const std::string& json);
// `message` as JSON or YAML; in the other formats what `table` or `names`
// writes.
void WriteMessage(const google::protobuf::Message& message, OutputFormat format,
                  std::ostream* out, absl::FunctionRef<void()> table,
                  absl::FunctionRef<void()> names);
// "2m 3s", "4h 10m", "0.8s"; "-" for an infinite duration.
std::string HumanDuration(absl::Duration duration);
std::string HumanBytes(double bytes);
// "1.2 G", for operation counts.
std::string HumanCount(double count);
// "2026-01-31 12:00:00", in the zone of whoever reads; "-" when unset (0).
std::string HumanTime(int64_t seconds,
                      absl::TimeZone zone = absl::LocalTimeZone());
// "3m 5s ago"; "-" when unset (0).
std::string HumanAge(int64_t seconds, absl::Time now);
// Up to `width` block characters of the values' course.
std::string Sparkline(const std::vector<double>& values, int width);

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_OUTPUT_H_
