// The identity of a task's result: same key, same result.
#ifndef DASM_SERVER_PLANNER_ACTION_KEY_H_
#define DASM_SERVER_PLANNER_ACTION_KEY_H_

#include <map>
#include <string>
#include <string_view>

namespace dasm {

// 64 hex digits: SHA-256 over a format byte, the kind, the canonical
// parameters, input names with payload digests (source files by role), the
// numerics class and the salt, each length-prefixed. Name, labels, priority,
// resources, paths and times are not in it.
std::string ActionKey(std::string_view kind, std::string_view parameters_json,
                      const std::map<std::string, std::string>& input_digests,
                      std::string_view numerics_class, std::string_view salt);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_ACTION_KEY_H_
