#include "tests/support/network_namespaces.h"

#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/support/process.h"

namespace dasm::testing_support {
namespace {

// The same in both: names of devices belong to their namespace.
constexpr char kDevice[] = "cable";

}  // namespace

std::vector<std::string> EnterNamespace(const std::string& name) {
  return {DASM_IP_COMMAND, "netns", "exec", name};
}

TwoMachines::TwoMachines()
    : first_{absl::StrCat("dasm-", getpid(), "-a"), "10.77.0.1"},
      second_{absl::StrCat("dasm-", getpid(), "-b"), "10.77.0.2"} {
  Ip({"netns", "add", first_.netns});
  Ip({"netns", "add", second_.netns});
  Ip({"link", "add", kDevice, "netns", first_.netns, "type", "veth", "peer",
      "name", kDevice, "netns", second_.netns});
  for (const Place& place : {first_, second_}) {
    Ip({"-n", place.netns, "addr", "add", absl::StrCat(place.host, "/24"),
        "dev", kDevice});
    Ip({"-n", place.netns, "link", "set", kDevice, "up"});
    Ip({"-n", place.netns, "link", "set", "lo", "up"});
  }
}

TwoMachines::~TwoMachines() {
  Ip({"netns", "del", first_.netns});
  Ip({"netns", "del", second_.netns});
}

void TwoMachines::SetLink(bool up) {
  Ip({"-n", second_.netns, "link", "set", kDevice, up ? "up" : "down"});
}

void TwoMachines::Ip(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {DASM_IP_COMMAND};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const Finished finished = RunToEnd(argv);
  if (finished.exit_code != 0) {
    absl::StrAppend(&error_, absl::StrJoin(argv, " "), ": ", finished.err);
  }
}

}  // namespace dasm::testing_support
