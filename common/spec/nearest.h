// "Did you mean": the known name closest to a misspelt one.
#ifndef DASM_COMMON_SPEC_NEAREST_H_
#define DASM_COMMON_SPEC_NEAREST_H_

#include <string>
#include <string_view>
#include <vector>

namespace dasm {

// The least number of inserted, deleted, replaced or swapped neighbouring
// characters (optimal string alignment). O(|a| |b|).
int EditDistance(std::string_view a, std::string_view b);

// The first of the names at the least distance; empty without names.
std::string Nearest(std::string_view name,
                    const std::vector<std::string>& names);

// `; did you mean "x"?`, or nothing where no name is near (more than a third
// of the letters differ).
std::string DidYouMean(std::string_view name,
                       const std::vector<std::string>& names);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_NEAREST_H_
