// DeviceLanes as CUDA streams. Each lane begins behind the main stream (an
// event) and the main stream goes on behind every lane. Memory that a lane's
// work allocates goes back to that lane when it is freed, whose later work is
// again behind the main stream's: no tensor needs to be told which streams use
// it.
#ifndef DASM_WORKER_CUDA_CUDA_LANES_H_
#define DASM_WORKER_CUDA_CUDA_LANES_H_

#include <memory>

#include "worker/engine/device/device_lanes.h"

namespace dasm {

std::unique_ptr<DeviceLanes> MakeCudaLanes(int device, int lanes);

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_CUDA_LANES_H_
