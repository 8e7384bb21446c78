// How results reach people and scripts: tables, or the API's messages as JSON
// and YAML. Data goes to stdout, talk to stderr.
#ifndef DASM_CLIENT_COMMAND_OUTPUT_H_
#define DASM_CLIENT_COMMAND_OUTPUT_H_

#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/message.h"

namespace dasm {

enum class OutputFormat { kTable, kJson, kYaml, kName };

// INVALID_ARGUMENT (field "output") for anything but table, json, yaml, name.
absl::StatusOr<OutputFormat> ParseOutputFormat(const std::string& text);

// Columns as wide as their widest cell; the last one is not padded.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void Add(std::vector<std::string> row);
  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// Field names as in the .proto, unset fields left out, two spaces of indent.
std::string JsonText(const google::protobuf::Message& message);
// The same as block YAML.
std::string JsonToYaml(const std::string& json);
// "2m 3s", "4h 10m", "0.8s"; "-" for an infinite duration.
std::string HumanDuration(absl::Duration duration);
std::string HumanBytes(double bytes);
// "1.2 G", for operation counts.
std::string HumanCount(double count);
// The proto's time as "2026-01-31 12:00:00" (UTC); "-" when unset.
std::string HumanTime(int64_t seconds);
// Up to `width` block characters of the values' course.
std::string Sparkline(const std::vector<double>& values, int width);

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_OUTPUT_H_
