// StepGraph by CUDA graphs. The first call of a key runs the step on a side
// stream, so that libraries make their handles and plans; the second records
// it, with inputs in buffers of its own and memory of a pool of its own, and
// replays; later ones fill the buffers and replay. A step that cannot be
// recorded is called for ever after, and said once.
//
// Recording runs the backward pass on this thread and forbids the device to
// this thread alone (thread-local capture mode): the watchdog of a gang goes
// on. Every key has a pool of its own, so that the results of one outlive the
// replay of another.
#ifndef DASM_WORKER_CUDA_CUDA_STEP_GRAPH_H_
#define DASM_WORKER_CUDA_CUDA_STEP_GRAPH_H_

#include <memory>

#include "worker/engine/device/step_graph.h"

namespace dasm {

std::unique_ptr<StepGraph> MakeCudaStepGraph(int device);

}  // namespace dasm

#endif  // DASM_WORKER_CUDA_CUDA_STEP_GRAPH_H_
