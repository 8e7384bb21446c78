// Presets of trajectory matching. Names: {method}/{data set}/ipc{N}, then
// optionally the network that is not ConvNet, and /repo where the released code
// has other numbers than the paper, which are the ones without suffix (or with
// /paper).
//   mtt, ftd, tesla, datm, pad, seqmatch (on MTT), seqmatch-ftd
//   dasm-trajectory   DASM: DATM's row for the first segment, SeqMatch's
//                     intervals for the experts of later ones
// /quick (mnist, fashion-mnist, cifar-10 at IPC 1 and 10; methods with several
// segments at IPC 10) is for a CPU: ten experts of 5 epochs, a few hundred
// iterations of 10 or 20 steps, scores from 2 runs, 300 epochs of evaluation.
// The width stays the published 128 unless the job says otherwise.
// Other data sets than CIFAR are folders of pictures, one a class, which a job
// may look for elsewhere: dataset.image_folder.
#ifndef DASM_COMMON_SPEC_TRAJECTORY_PRESET_H_
#define DASM_COMMON_SPEC_TRAJECTORY_PRESET_H_

#include <string>
#include <vector>

#include "common/spec/preset.h"
#include "dasm/v1/job.pb.h"

namespace dasm {

struct TrajectoryPreset {
  PresetInfo info;
  std::string paper_name;  // info.name with /paper; empty for /repo and /quick
  v1::JobSpec spec;
};

// Never destroyed.
const std::vector<TrajectoryPreset>& TrajectoryPresets();

}  // namespace dasm

#endif  // DASM_COMMON_SPEC_TRAJECTORY_PRESET_H_
