#include "worker/agent/device_slots.h"

#include <utility>

namespace dasm {

DeviceSlots::DeviceSlots(int slots, std::vector<std::string> devices)
    : slots_(slots), devices_(std::move(devices)) {}

std::string DeviceSlots::DeviceOf(int slot) const {
  return devices_.empty() ? "cpu" : devices_[slot % devices_.size()];
}

std::optional<std::string> DeviceSlots::Take(const std::string& task,
                                             uint64_t fence, int rank) {
  const Key key = {task, fence, rank};
  if (const auto found = taken_.find(key); found != taken_.end()) {
    return DeviceOf(found->second);
  }
  std::vector<bool> busy(slots_);
  std::map<std::string, int> ranks;
  for (const auto& [unused, slot] : taken_) {
    busy[slot] = true;
    ++ranks[DeviceOf(slot)];
  }
  int best = -1;
  for (int slot = 0; slot < slots_; ++slot) {
    if (busy[slot]) continue;
    if (best < 0 || ranks[DeviceOf(slot)] < ranks[DeviceOf(best)]) best = slot;
  }
  if (best < 0) return std::nullopt;
  taken_[key] = best;
  return DeviceOf(best);
}

void DeviceSlots::Free(const std::string& task, uint64_t fence, int rank) {
  taken_.erase(Key(task, fence, rank));
}

int DeviceSlots::free() const {
  return slots_ - static_cast<int>(taken_.size());
}

}  // namespace dasm
