// The `expert` blob of common/spec/task_parameters.h: the parameters that one
// teacher network went through, a row an epoch. Read through a mapping, so that
// an iteration of trajectory matching touches two rows of it.
//
// Shapes: E epochs, P parameters, B buffer values; rows 0 .. E.
// Threads: ExpertFile is thread-safe; an ExpertWriter is used by one thread.
#ifndef DASM_WORKER_ENGINE_TEACHER_EXPERT_FILE_H_
#define DASM_WORKER_ENGINE_TEACHER_EXPERT_FILE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/artifact/safetensors.h"
#include "common/spec/job_spec.h"
#include "worker/engine/dataset/image_data.h"
#include "worker/engine/network/network.h"

namespace dasm {

// A network and how it is built: its layout tells too little (padding,
// strides).
struct NetworkIdentity {
  const NetworkSpec& spec;
  const Network& network;
};

// What an expert file says of itself: network, epochs, data.
std::map<std::string, std::string> ExpertMetadata(const NetworkSpec& network,
                                                  int epochs,
                                                  const ImageData& data);

class ExpertFile {
 public:
  // Of this network, trained on this data set (name, preprocessing, classes,
  // image shape, number of training images), with `epochs` epochs or more. Else
  // failure class DATA, naming the path, what differs and the remedy; so too
  // for a damaged file.
  static absl::StatusOr<std::unique_ptr<ExpertFile>> Open(
      const std::string& path, const NetworkIdentity& network,
      const ImageData& data, int epochs);

  const std::string& path() const { return path_; }
  int epochs() const { return epochs_; }
  // Copies on the host, aligned: bits do not depend on where a row lies in the
  // file. 0 <= epoch <= epochs(), else c10::Error.
  at::Tensor Parameters(int epoch) const;  // f32 [P]
  at::Tensor Buffers(int epoch) const;     // f32 [B], B = 0 without BatchNorm

 private:
  ExpertFile() = default;

  std::string path_;
  std::unique_ptr<SafetensorsFile> file_;
  int epochs_ = 0;
  at::Tensor trajectory_;  // [E + 1, P], borrowed from file_
  at::Tensor buffers_;     // [E + 1, B], borrowed, or [E + 1, 0]
};

// Writes a trajectory row by row, so that memory does not grow with it.
class ExpertWriter {
 public:
  // Of E `epochs`; errors (STORAGE) as FileSystem.
  static absl::StatusOr<std::unique_ptr<ExpertWriter>> Create(
      const std::string& path, const NetworkIdentity& network, int epochs,
      const ImageData& data);

  // Rows [from, from + n) of host tensors [n, P] and [n, B], each row once.
  absl::Status Write(int from, const at::Tensor& parameters,
                     const at::Tensor& buffers);
  // The first `rows` of what was written, as "trajectory" and (with BatchNorm)
  // "buffers"; views that live as long as the writer.
  absl::StatusOr<std::map<std::string, at::Tensor>> Rows(int rows) const;
  // Complete, synced and in place. Once, after every row.
  absl::Status Commit();

 private:
  ExpertWriter(std::unique_ptr<SafetensorsWriter> file, int64_t parameters,
               int64_t buffers)
      : file_(std::move(file)), parameters_(parameters), buffers_(buffers) {}

  const std::unique_ptr<SafetensorsWriter> file_;
  const int64_t parameters_;
  const int64_t buffers_;
};

}  // namespace dasm

#endif  // DASM_WORKER_ENGINE_TEACHER_EXPERT_FILE_H_
