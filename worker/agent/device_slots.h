// Which of a machine's slots, and so which device, each rank of each attempt
// has. A slot is a device; without devices all slots are the CPU.
#ifndef DASM_WORKER_AGENT_DEVICE_SLOTS_H_
#define DASM_WORKER_AGENT_DEVICE_SLOTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace dasm {

// Not thread-safe: of the agent's loop.
class DeviceSlots {
 public:
  // Slot s is on device s mod devices; `devices` are names as "cuda:0", empty
  // for a CPU.
  DeviceSlots(int slots, std::vector<std::string> devices);

  // The device of a rank of an attempt: the one it has, else that of the free
  // slot whose device has the fewest ranks, the lowest of these. Empty: all
  // slots are taken.
  std::optional<std::string> Take(const std::string& task, uint64_t fence,
                                  int rank);
  // Nothing where it has none.
  void Free(const std::string& task, uint64_t fence, int rank);
  int free() const;

 private:
  using Key = std::tuple<std::string, uint64_t, int>;

  std::string DeviceOf(int slot) const;

  const int slots_;
  const std::vector<std::string> devices_;
  std::map<Key, int> taken_;  // slot
};

}  // namespace dasm

#endif  // DASM_WORKER_AGENT_DEVICE_SLOTS_H_
