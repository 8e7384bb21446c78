// Paths of fields as people read them: "matching.trajectory.batch".
#ifndef DASM_COMMON_SPEC_FIELD_PATH_H_
#define DASM_COMMON_SPEC_FIELD_PATH_H_

#include <string>

namespace dasm {

// `name` below `path`; the top has an empty path.
inline std::string JoinPath(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_FIELD_PATH_H_
