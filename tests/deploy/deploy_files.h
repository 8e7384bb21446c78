// The files below deploy/ and docker/, as the tests of this folder read them.
#ifndef DASM_TESTS_DEPLOY_DEPLOY_FILES_H_
#define DASM_TESTS_DEPLOY_DEPLOY_FILES_H_

#include <set>
#include <string>
#include <vector>

#include "yaml-cpp/yaml.h"

namespace dasm::testing_support {

// `path` is relative to the root of the clone; "" and a failed test without it.
std::string Source(const std::string& path);
// The documents of a YAML file; a parse error fails the test.
std::vector<YAML::Node> Documents(const std::string& path);
// Paths below `folder` that end with `suffix`, sorted.
std::vector<std::string> FilesBelow(const std::string& folder,
                                    const std::string& suffix);
// The documents of every file in deploy/kubernetes whose kind is `kind`.
std::vector<YAML::Node> OfKind(const std::string& kind);

// Long options that `binary --help` (or `binary verb --help`) lists.
std::set<std::string> FlagsOf(const std::string& binary,
                              const std::string& verb = "");
// "--listen" of "--listen=0.0.0.0:7070"; other words are left out.
std::set<std::string> FlagNames(const std::vector<std::string>& words);
// "0.0.0.0:7070" of "--listen=0.0.0.0:7070"; "" without the flag.
std::string FlagValue(const std::vector<std::string>& words,
                      const std::string& flag);
// A YAML sequence of strings; empty for a missing node.
std::vector<std::string> Strings(const YAML::Node& node);
// The number behind the last colon.
int PortOf(const std::string& address);

}  // namespace dasm::testing_support

#endif  // DASM_TESTS_DEPLOY_DEPLOY_FILES_H_
