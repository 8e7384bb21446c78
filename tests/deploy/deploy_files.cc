#include "tests/deploy/deploy_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/process.h"
#include "tests/support/service.h"

namespace dasm::testing_support {

std::string Source(const std::string& path) {
  std::ifstream stream(absl::StrCat(DASM_SOURCE_DIR, "/", path));
  std::stringstream text;
  text << stream.rdbuf();
  EXPECT_FALSE(text.str().empty()) << path << " is missing or empty";
  return text.str();
}

std::vector<YAML::Node> Documents(const std::string& path) {
  try {
    return YAML::LoadAll(Source(path));
  } catch (const YAML::Exception& error) {
    ADD_FAILURE() << path << ": " << error.what();
    return {};
  }
}

std::vector<std::string> FilesBelow(const std::string& folder,
                                    const std::string& suffix) {
  std::vector<std::string> paths;
  const std::string root = absl::StrCat(DASM_SOURCE_DIR, "/");
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(root + folder)) {
    const std::string path = entry.path().string();
    if (entry.is_regular_file() && absl::EndsWith(path, suffix)) {
      paths.push_back(path.substr(root.size()));
    }
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<YAML::Node> OfKind(const std::string& kind) {
  std::vector<YAML::Node> found;
  for (const std::string& path : FilesBelow("deploy/kubernetes", ".yaml")) {
    for (const YAML::Node& document : Documents(path)) {
      if (document.IsMap() && document["kind"] &&
          document["kind"].as<std::string>() == kind) {
        found.push_back(document);
      }
    }
  }
  EXPECT_FALSE(found.empty()) << "no " << kind << " in deploy/kubernetes";
  return found;
}

std::set<std::string> FlagsOf(const std::string& binary,
                              const std::string& verb) {
  std::vector<std::string> argv = {Binary(binary)};
  if (!verb.empty()) argv.push_back(verb);
  argv.push_back("--help");
  const Finished help = RunToEnd(argv);
  EXPECT_EQ(help.exit_code, 0) << help.err;
  std::set<std::string> flags;
  // At the start of a line, behind "-h," perhaps: not those of an example.
  static const std::regex kFlag("\n  (?:-\\w,)?(--[a-z][a-z-]*)");
  for (std::sregex_iterator it(help.out.begin(), help.out.end(), kFlag), end;
       it != end; ++it) {
    flags.insert((*it)[1]);
  }
  return flags;
}

std::set<std::string> FlagNames(const std::vector<std::string>& words) {
  std::set<std::string> names;
  for (const std::string& word : words) {
    if (absl::StartsWith(word, "--")) {
      names.insert(word.substr(0, word.find('=')));
    }
  }
  return names;
}

std::string FlagValue(const std::vector<std::string>& words,
                      const std::string& flag) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (absl::StartsWith(words[i], flag + "=")) {
      return words[i].substr(flag.size() + 1);
    }
    if (words[i] == flag && i + 1 < words.size()) return words[i + 1];
  }
  return "";
}

std::vector<std::string> Strings(const YAML::Node& node) {
  std::vector<std::string> strings;
  if (!node) return strings;
  for (const YAML::Node& item : node) strings.push_back(item.as<std::string>());
  return strings;
}

int PortOf(const std::string& address) {
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port))
      << address;
  return port;
}

}  // namespace dasm::testing_support
