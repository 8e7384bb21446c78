// Reads JSON that somebody else wrote.
#ifndef DASM_CLIENT_COMMAND_JSON_MEMBER_H_
#define DASM_CLIENT_COMMAND_JSON_MEMBER_H_

#include <string>

#include "nlohmann/json.hpp"

namespace dasm {

// null where `value` is no object or has no such member: files on a user's disk
// may hold anything.
inline nlohmann::json Member(const nlohmann::json& value,
                             const std::string& name) {
  return value.is_object() ? value.value(name, nlohmann::json())
                           : nlohmann::json();
}

}  // namespace dasm

#endif  // DASM_CLIENT_COMMAND_JSON_MEMBER_H_
