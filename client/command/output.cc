#include "client/command/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/error.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"
#include "yaml-cpp/yaml.h"

namespace dasm {
namespace {

bool Continues(char c) { return (c & 0xC0) == 0x80; }

// The bytes of the first `columns` characters.
size_t BytesOf(absl::string_view text, int columns) {
  size_t at = 0;
  for (; at < text.size(); ++at) {
    if (!Continues(text[at]) && columns-- == 0) break;
  }
  return at;
}

void EmitYaml(const nlohmann::ordered_json& value, YAML::Emitter* out) {
  if (value.is_object()) {
    *out << YAML::BeginMap;
    for (const auto& [key, member] : value.items()) {
      *out << YAML::Key << key << YAML::Value;
      EmitYaml(member, out);
    }
    *out << YAML::EndMap;
  } else if (value.is_array()) {
    *out << YAML::BeginSeq;
    for (const auto& item : value) EmitYaml(item, out);
    *out << YAML::EndSeq;
  } else if (value.is_string()) {
    *out << value.get<std::string>();
  } else {
    *out << value.dump();
  }
}

std::string Scaled(double value, double base, const char* const* units,
                   int count) {
  int unit = 0;
  while (std::abs(value) >= base && unit + 1 < count) {
    value /= base;
    ++unit;
  }
  return absl::StrFormat("%.*f%s", unit == 0 ? 0 : 1, value, units[unit]);
}

}  // namespace

absl::StatusOr<OutputFormat> ParseOutputFormat(const std::string& text) {
  if (text == "table") return OutputFormat::kTable;
  if (text == "json") return OutputFormat::kJson;
  if (text == "yaml") return OutputFormat::kYaml;
  if (text == "name") return OutputFormat::kName;
  return InvalidField("output", absl::StrCat("\"", text,
                                             "\" is not one of table, json, "
                                             "yaml, name"));
}

Table::Table(std::vector<std::string> header) {
  rows_.push_back(std::move(header));
}

void Table::Add(std::vector<std::string> row) {
  rows_.push_back(std::move(row));
}

std::string Table::ToString(int columns) const {
  constexpr int kGap = 3;
  constexpr int kLeastFlexible = 8;
  std::vector<int> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i]));
    }
  }
  if (columns > 0) {
    int total = kGap * (static_cast<int>(widths.size()) - 1);
    for (const int width : widths) total += width;
    for (size_t i = 0; i < rows_[0].size(); ++i) {
      if (rows_[0][i] != flexible_) continue;
      const int least = std::min(widths[i], kLeastFlexible);
      widths[i] = std::max(least, widths[i] - std::max(0, total - columns));
    }
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string cell = ElideMiddle(row[i], std::max(1, widths[i]));
      absl::StrAppend(&line, cell);
      if (i + 1 < row.size()) {
        line.append(widths[i] - DisplayWidth(cell) + kGap, ' ');
      }
    }
    absl::StrAppend(&text, columns > 0 ? ElideEnd(line, columns) : line, "\n");
  }
  return text;
}

// Continuation bytes of UTF-8 take no column.
int DisplayWidth(absl::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(),
                                        [](char c) { return !Continues(c); }));
}

std::string ElideMiddle(absl::string_view text, int columns) {
  const int width = DisplayWidth(text);
  if (width <= columns) return std::string(text);
  const int head = columns / 2;
  const int tail = columns - head - 1;
  return absl::StrCat(text.substr(0, BytesOf(text, head)), "…",
                      text.substr(BytesOf(text, width - tail)));
}

std::string ElideEnd(absl::string_view text, int columns) {
  if (DisplayWidth(text) <= columns) return std::string(text);
  return absl::StrCat(text.substr(0, BytesOf(text, columns - 1)), "…");
}

int TerminalColumns() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  int columns = 0;
  const char* variable = std::getenv("COLUMNS");
  if (variable != nullptr && absl::SimpleAtoi(variable, &columns) &&
      columns > 0) {
    return columns;
  }
  return 80;
}

std::string JsonText(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(message, &json, options)
           .ok()) {
    return "{}";
  }
  return nlohmann::ordered_json::parse(json).dump(2);
}

std::string JsonToYaml(const std::string& json) {
  YAML::Emitter out;
  EmitYaml(nlohmann::ordered_json::parse(json), &out);
  return out.c_str();
}

void WriteMessage(const google::protobuf::Message& message, OutputFormat format,
                  std::ostream* out, absl::FunctionRef<void()> table,
                  absl::FunctionRef<void()> names) {
  switch (format) {
    case OutputFormat::kTable:
      table();
      break;
    case OutputFormat::kJson:
      *out << JsonText(message) << "\n";
      break;
    case OutputFormat::kYaml:
      *out << JsonToYaml(JsonText(message)) << "\n";
      break;
    case OutputFormat::kName:
      names();
      break;
  }
}

std::string HumanDuration(absl::Duration duration) {
  if (duration == absl::InfiniteDuration() || duration < absl::ZeroDuration()) {
    return "-";
  }
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 10) return absl::StrFormat("%.1fs", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 60) return absl::StrCat(whole, "s");
  if (whole < 3600) return absl::StrCat(whole / 60, "m ", whole % 60, "s");
  if (whole < 86400) {
    return absl::StrCat(whole / 3600, "h ", whole / 60 % 60, "m");
  }
  return absl::StrCat(whole / 86400, "d ", whole / 3600 % 24, "h");
}

std::string HumanBytes(double bytes) {
  static const char* const kUnits[] = {" B", " KiB", " MiB", " GiB", " TiB"};
  return Scaled(bytes, 1024, kUnits, 5);
}

std::string HumanCount(double count) {
  static const char* const kUnits[] = {"", " k", " M", " G", " T", " P", " E"};
  return Scaled(count, 1000, kUnits, 7);
}

std::string HumanTime(int64_t seconds, absl::TimeZone zone) {
  if (seconds == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(seconds),
                          zone);
}

std::string HumanAge(int64_t seconds, absl::Time now) {
  if (seconds == 0) return "-";
  // Of a clock that goes ahead of ours.
  const absl::Duration age =
      std::max(absl::ZeroDuration(), now - absl::FromUnixSeconds(seconds));
  if (age < absl::Minutes(1)) {
    return absl::StrCat(absl::ToInt64Seconds(age), "s ago");
  }
  return absl::StrCat(HumanDuration(age), " ago");
}

std::string Sparkline(const std::vector<double>& values, int width) {
  static const char* const kBlocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (values.empty() || width <= 0) return "";
  // One character is the mean of an equal share of the values.
  const int columns = std::min<int>(width, values.size());
  std::vector<double> means(columns);
  for (int i = 0; i < columns; ++i) {
    const size_t begin = values.size() * i / columns;
    const size_t end = values.size() * (i + 1) / columns;
    double sum = 0;
    for (size_t j = begin; j < end; ++j) sum += values[j];
    means[i] = sum / (end - begin);
  }
  const auto [low, high] = std::minmax_element(means.begin(), means.end());
  const double range = *high - *low;
  std::string line;
  for (double mean : means) {
    const int level =
        range > 0 ? static_cast<int>((mean - *low) / range * 7.999) : 0;
    absl::StrAppend(&line, kBlocks[std::clamp(level, 0, 7)]);
  }
  return line;
}

}  // namespace dasm
