#include "server/planner/summary_json.h"

#include <cmath>

namespace dasm {

using Json = nlohmann::ordered_json;

Json ParseObject(const std::string& text) {
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_object() ? value : Json::object();
}

std::optional<double> NumberOf(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  const double value = found->get<double>();
  if (!std::isfinite(value)) return std::nullopt;
  return value;
}

Json WithoutNulls(const Json& value) {
  if (!value.is_object()) return value;
  Json result = Json::object();
  for (const auto& [name, member] : value.items()) {
    if (!member.is_null()) result[name] = WithoutNulls(member);
  }
  return result;
}

}  // namespace dasm
