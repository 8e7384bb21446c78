// Networks of a spec: the job's own, and those that evaluation names.
//   convnet                any norm; the only one with depth and width
//   mlp, lenet, alexnet    no norm
//   vgg11, resnet18, resnet18-ap   instance or batch norm
#ifndef DASM_COMMON_SPEC_NETWORK_READER_H_
#define DASM_COMMON_SPEC_NETWORK_READER_H_

#include <string>

#include "absl/status/status.h"
#include "common/spec/field_reader.h"
#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

// `given`: what spec and preset say of it, `from`: the same over the defaults,
// which are convnet's.
NetworkSpec ReadNetwork(const v1::NetworkSpec& given,
                        const v1::NetworkSpec& from, FieldReader* reader);

// "convnet", "convnet-d4-w64-batch", "resnet18-batch", "mlp". Parts that the
// name leaves out are those of `job` if that is the same network, else depth 3,
// width 128 and, where the network has a norm, instance.
NetworkSpec ReadNetworkName(const std::string& text, const NetworkSpec& job,
                            const std::string& field, FieldReader* reader);

// Refuses networks that are only evaluated with. Gradients are matched by
// convnet, trajectories also by resnet18.
void CheckDistills(const NetworkSpec& network, bool trajectories,
                   FieldReader* reader);

// INVALID_ARGUMENT for a network that images of this size are not made for;
// `field` names an entry of a list, and is empty for the job's own network.
// `side` 0: unknown.
absl::Status CheckImageSide(const NetworkSpec& network,
                            const std::string& field, int side, int channels);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_NETWORK_READER_H_
