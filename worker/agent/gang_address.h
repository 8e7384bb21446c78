// Where the runners of this worker listen for the peers of their gang.
#ifndef DASM_WORKER_AGENT_GANG_ADDRESS_H_
#define DASM_WORKER_AGENT_GANG_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"

namespace dasm {

// "HOST:0" (any free port) for --gang-address HOST, which is a name or an
// address of this machine, IPv6 with or without brackets. INVALID_ARGUMENT
// naming the flag for anything else, for a wildcard, which peers could not
// connect to, and for what other machines can reach unless `insecure`: the
// ranks prove to each other who they are, but nothing is encrypted.
absl::StatusOr<std::string> GangListenAddress(const std::string& host,
                                              bool insecure);

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_GANG_ADDRESS_H_
