#include "common/spec/task_parameters.h"

#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/spec/field_path.h"

namespace dasm {
namespace {

using Json = nlohmann::json;

// The member in which `given` differs from `read`, the same JSON after a trip
// through the struct; empty when there is none. The trip drops members that
// the struct lacks, cuts fractions off integers and turns unknown enum names
// into the first one: every such case shows as a difference.
std::string FindDifference(const Json& given, const Json& read,
                           const std::string& path) {
  if (read.is_object()) {
    if (!given.is_object()) return path;
    for (const auto& [name, value] : given.items()) {
      const std::string member = JoinPath(path, name);
      if (!read.contains(name)) return member;
      std::string inner = FindDifference(value, read[name], member);
      if (!inner.empty()) return inner;
    }
    return "";
  }
  if (read.is_array()) {
    if (!given.is_array() || given.size() != read.size()) return path;
    for (size_t i = 0; i < read.size(); ++i) {
      std::string inner =
          FindDifference(given[i], read[i], absl::StrCat(path, "[", i, "]"));
      if (!inner.empty()) return inner;
    }
    return "";
  }
  // By text, since -1 and 2^64 - 1 compare equal as numbers.
  if (read.is_number_float()) {
    return given.is_number() && given.get<double>() == read.get<double>()
               ? ""
               : path;
  }
  return given.dump() == read.dump() ? "" : path;
}

absl::Status Malformed(std::string_view kind, std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("parameters of ", std::string(kind), ": ", std::string(what),
                   ". Planner and runner disagree: run "
                   "binaries of one release"));
}

template <typename T>
absl::StatusOr<TaskParameters> Parse(const Json& given) {
  T parameters;
  try {
    given.get_to(parameters);
  } catch (const std::exception& e) {
    return Malformed(T::kKind, e.what());
  }
  const std::string difference = FindDifference(given, Json(parameters), "");
  if (!difference.empty()) {
    return Malformed(T::kKind, absl::StrCat("member \"", difference,
                                            "\" is unknown or of another "
                                            "type"));
  }
  return TaskParameters(std::move(parameters));
}

template <size_t I = 0>
absl::StatusOr<TaskParameters> ParseKind(std::string_view kind,
                                         const Json& given) {
  if constexpr (I == std::variant_size_v<TaskParameters>) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no task kind \"", std::string(kind),
                     "\". Planner and runner disagree: run binaries of one "
                     "release"));
  } else {
    using T = std::variant_alternative_t<I, TaskParameters>;
    if (kind == T::kKind) return Parse<T>(given);
    return ParseKind<I + 1>(kind, given);
  }
}

}  // namespace

std::string_view KindOf(const TaskParameters& parameters) {
  return std::visit(
      [](const auto& p) -> std::string_view {
        return std::decay_t<decltype(p)>::kKind;
      },
      parameters);
}

std::string ToCanonicalJson(const TaskParameters& parameters) {
  return std::visit([](const auto& p) { return Json(p).dump(); }, parameters);
}

absl::StatusOr<TaskParameters> ParseTaskParameters(std::string_view kind,
                                                   std::string_view json) {
  const Json given = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!given.is_object()) return Malformed(kind, "not a JSON object");
  return ParseKind(kind, given);
}

}  // namespace dasm
