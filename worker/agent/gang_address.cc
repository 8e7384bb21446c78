#include "worker/agent/gang_address.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/status_macros.h"
#include "common/rpc/endpoint.h"

namespace dasm {
namespace {

constexpr char kFlag[] = "gang-address";

}  // namespace

absl::StatusOr<std::string> GangListenAddress(const std::string& host,
                                              bool insecure) {
  // One colon would be a port.
  const auto colons = std::count(host.begin(), host.end(), ':');
  if (host.empty() || absl::StrContains(host, "/") || colons == 1) {
    return InvalidField(
        kFlag, absl::StrCat("\"", host,
                            "\" is not a host; write the name or address of "
                            "the interface that other workers reach"));
  }
  if (host == "0.0.0.0" || host == "::" || host == "[::]") {
    return InvalidField(
        kFlag, absl::StrCat("\"", host,
                            "\" is no address that peers can connect to; "
                            "write that of one interface"));
  }
  const bool bare_v6 = host[0] != '[' && colons > 1;
  const std::string address =
      bare_v6 ? absl::StrCat("[", host, "]:0") : absl::StrCat(host, ":0");
  DASM_RETURN_IF_ERROR(CheckListenAddress(kFlag, address, insecure));
  return address;
}

}  // namespace dasm
