// Work of a device that may be computed at once because it shares nothing: the
// steps of several experts, none of which fills the device alone. A lane is a
// queue of the device beside its main one.
#ifndef DASM_WORKER_ENGINE_DEVICE_DEVICE_LANES_H_
#define DASM_WORKER_ENGINE_DEVICE_DEVICE_LANES_H_

#include <c10/core/Device.h>

#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace dasm {

class DeviceLanes {
 public:
  using Work = absl::FunctionRef<absl::Status(int lane)>;

  virtual ~DeviceLanes() = default;
  // Calls work(0) .. work(lanes - 1) in this order on the calling thread, each
  // with its lane as the thread's current queue; nothing waits for the device.
  // On the device all come behind what was queued before the call, and what is
  // queued after it comes behind all of them; among themselves they have no
  // order, so each must have a StepGraph and state of its own. Ends with the
  // first error: the lanes after it are not called. Exceptions of the work pass
  // through, and what is queued after one has no order with the lanes.
  virtual absl::Status ForEach(Work work) = 0;
};

// Calls the work, all of it on the current queue.
std::unique_ptr<DeviceLanes> MakeLanesInTurn(int lanes);

// The installed plug-in's for its devices; in turn without one and for a single
// lane.
std::unique_ptr<DeviceLanes> MakeDeviceLanes(at::Device device, int lanes);

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_DEVICE_DEVICE_LANES_H_
