// Where each tensor of a network lies in its flat vector.
#ifndef DASM_WORKER_ENGINE_NETWORK_PARAMETER_LAYOUT_H_
#define DASM_WORKER_ENGINE_NETWORK_PARAMETER_LAYOUT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dasm {

class ParameterLayout {
 public:
  struct Entry {
    std::string name;  // "conv0.w"
    std::vector<int64_t> shape;
    int64_t offset = 0;  // in elements
    int64_t size = 0;
  };

  // Appends a tensor behind the others.
  void Add(std::string name, std::vector<int64_t> shape) {
    int64_t size = 1;
    for (int64_t extent : shape) size *= extent;
    entries_.push_back({std::move(name), std::move(shape), total_, size});
    total_ += size;
  }

  const std::vector<Entry>& entries() const { return entries_; }
  int64_t total() const { return total_; }

 private:
  std::vector<Entry> entries_;
  int64_t total_ = 0;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_NETWORK_PARAMETER_LAYOUT_H_
