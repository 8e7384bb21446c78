// Reading what tasks report: a JSON object, in which values may be missing or
// null.
#ifndef DASM_SERVER_PLANNER_SUMMARY_JSON_H_
#define DASM_SERVER_PLANNER_SUMMARY_JSON_H_

#include <optional>
#include <string>

#include "nlohmann/json.hpp"

namespace dasm {

// {} for what is no object.
nlohmann::ordered_json ParseObject(const std::string& text);
// Of a member that is a finite number.
std::optional<double> NumberOf(const nlohmann::ordered_json& object,
                               const char* name);
// Without what JSON writes as null: a missing or non-finite value.
nlohmann::ordered_json WithoutNulls(const nlohmann::ordered_json& value);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_SUMMARY_JSON_H_
