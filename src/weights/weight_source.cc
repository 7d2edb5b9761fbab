// SPDX-License-Identifier: Apache-2.0
#include "weights/weight_source.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/parallel.h"
#include "core/rng.h"
#include "core/tensor.h"

namespace nextscale {
namespace {

class BorrowedFile final : public WeightSource {
 public:
  explicit BorrowedFile(const SafetensorsFile& file) : file_(file) {}

  ConstTensorView view(const std::string& name, const Shape& shape) override {
    const ConstTensorView view = file_.view(name);
    require_shape(name, view, shape);
    return view;
  }
  void drop(const std::string& name) override { file_.drop(name); }
  void rest(const std::string& name) override { file_.drop(name); }

 private:
  const SafetensorsFile& file_;
};

class OpenedFile final : public WeightSource {
 public:
  explicit OpenedFile(const std::filesystem::path& path) : file_(path), tensors_(file_) {}

  ConstTensorView view(const std::string& name, const Shape& shape) override {
    return tensors_.view(name, shape);
  }
  void drop(const std::string& name) override { tensors_.drop(name); }
  void rest(const std::string& name) override { tensors_.rest(name); }

 private:
  SafetensorsFile file_;
  BorrowedFile tensors_;
};

// Every tensor reads the same numbers over and over, the stretch being no multiple of its rows.
// Tensors of one shape are one while they are in use at once.
class RandomWeights final : public WeightSource {
 public:
  explicit RandomWeights(const Context& context) : context_(context), numbers_(kNumbers) {
    parallel_for(context.num_threads, kNumbers / kBlock, [&](int64_t block, int) {
      for (int64_t at = block * kBlock; at < (block + 1) * kBlock; ++at) {
        const RandomSite site{.seed = 1, .position = static_cast<uint32_t>(at)};
        numbers_[static_cast<size_t>(at)] = 2.0F * uniform(site, 0) - 1.0F;
      }
    });
  }

  ConstTensorView view(const std::string& name, const Shape& shape) override {
    std::weak_ptr<Tensor>& known = shapes_[shape.to_string()];
    std::shared_ptr<Tensor>& own = tensors_[name] = known.lock();
    if (own == nullptr) known = own = made(shape);
    return std::as_const(*own).view();
  }
  void drop(const std::string& name) override { tensors_.erase(name); }
  void rest(const std::string& /*name*/) override {}

 private:
  static constexpr int64_t kBlock = 1 << 10;
  static constexpr int64_t kNumbers = 1 << 20;
  static constexpr int64_t kStretch = kNumbers - 577;

  std::shared_ptr<Tensor> made(const Shape& shape) const {
    auto tensor = std::make_shared<Tensor>(DType::kF32, shape);
    const int64_t count = shape.num_elements();
    const int64_t inputs = std::max<int64_t>(1, count / shape[0]);
    const float range = std::sqrt(3.0F / static_cast<float>(inputs));
    parallel_for(context_.num_threads, (count + kStretch - 1) / kStretch, [&](int64_t part, int) {
      const int64_t first = part * kStretch;
      float* out = tensor->as<float>() + first;
      const int64_t end = std::min(kStretch, count - first);
      for (int64_t at = 0; at < end; ++at) out[at] = range * numbers_[static_cast<size_t>(at)];
    });
    return tensor;
  }

  const Context& context_;
  std::vector<float> numbers_;
  std::map<std::string, std::shared_ptr<Tensor>> tensors_;
  std::map<std::string, std::weak_ptr<Tensor>> shapes_;
};

}  // namespace

std::unique_ptr<WeightSource> weights_of(const SafetensorsFile& file) {
  return std::make_unique<BorrowedFile>(file);
}

std::unique_ptr<WeightSource> open_weights(const Context& context,
                                           const std::filesystem::path& folder,
                                           const std::string& name) {
  if (folder.empty()) return std::make_unique<RandomWeights>(context);
  return std::make_unique<OpenedFile>(folder / name);
}

}  // namespace nextscale
