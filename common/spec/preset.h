// Presets: published table rows as specs. Names:
//   {dasm-idc|idc}/{mnist|fashion-mnist|svhn|cifar-10|cifar-100}/ipc{N}
// with N in 1, 10, 50 (CIFAR-10 also 100, 200, 500, 1000), then optionally
// /strict (DASM only: V1, mix 1, no trim), /factor1 (where factor 2 is the
// default; /factor2 where 1 is: Fashion-MNIST from IPC 50), and a budget:
//   /paper  the default: 2000 outer iterations a segment
//   /fast   later segments 500
//   /quick  the only one meant for a CPU: 4 outer iterations of 10 steps a
//           segment at ten times the image learning rate, 600 evaluation
//           steps, one discriminator of 300 steps. Minutes on two cores at
//           network.width 32 and IPC up to 10; the width stays the published
//           128 unless the job says otherwise.
// Trajectory matching has presets of its own (trajectory_preset.h).
// What a preset leaves out (segments, evaluation length and network) follows
// from the rest of the spec; job_spec_proto.h derives it.
#ifndef DASM_COMMON_SPEC_PRESET_H_
#define DASM_COMMON_SPEC_PRESET_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/spec/job_spec.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

struct PresetInfo {
  std::string name;
  std::string summary;
  std::string source;  // the table the numbers come from
};

std::vector<PresetInfo> AllPresets();
// INVALID_ARGUMENT naming field "preset" and the nearest name.
absl::StatusOr<v1::JobSpec> FindPreset(std::string_view name);

// What the defaults depend on.
struct DefaultsFor {
  std::string dataset;       // a known one; anything else: the CIFAR-10 row
  int images_per_class = 1;  // 0: unknown
  int factor = 0;            // 0: the data set's default
  bool sequence = true;      // false: an evaluate-only job
  bool dasm = false;
  bool seqmatch = false;
  // Trajectories are matched.
  bool trajectory = false;
  bool soft_labels = false;  // their labels are not hard
  // Not given: that of the method.
  std::optional<Recipe> recipe;
};

// The values that hold without a preset, without dataset.name and
// images_per_class. Gradient matching: the row of the data set in the budget
// /paper. Trajectory matching: MTT's CIFAR-10 row of the nearest
// images_per_class, whose ZCA is for CIFAR alone.
v1::JobSpec DefaultSpec(const DefaultsFor& what);

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_PRESET_H_
