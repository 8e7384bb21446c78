#include "worker/engine/score/score_samples.h"

#include <ATen/ATen.h>

#include "common/base/status_macros.h"
#include "worker/engine/trainer/tester.h"

namespace dasm {

absl::StatusOr<at::Tensor> ScoreSamples(const Network& network,
                                        const at::Tensor& parameters,
                                        const at::Tensor& buffers,
                                        const ImageSource& source,
                                        const ExecutionSpec& execution,
                                        Collective* collective) {
  DASM_ASSIGN_OR_RETURN(
      const at::Tensor logits,
      Logits(network, parameters, buffers, source, execution, collective));
  return at::softmax(logits, 1);
}

}  // namespace dasm
