// SPDX-License-Identifier: Apache-2.0
#include "tests/weights/convert_checks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "apps/random_checkpoint/pickle_writer.h"
#include "apps/random_checkpoint/torch_writer.h"

namespace nextscale {

// Writes a torch file of zeros with these tensors.
void write_zeros(const std::filesystem::path& path, const std::vector<TensorInfo>& tensors) {
  std::vector<TorchStorage> storages;
  for (size_t index = 0; index < tensors.size(); ++index) {
    storages.push_back(
        {std::to_string(index), tensors[index].num_bytes(),
         [](uint64_t, std::span<std::byte> out) { std::ranges::fill(out, std::byte{0}); }});
  }
  write_torch_file(path, "zeros", flat_torch_pickle(tensors), std::move(storages));
}

TensorInfo& named(std::vector<TensorInfo>& tensors, std::string_view name) {
  return *std::ranges::find(tensors, name, &TensorInfo::name);
}

void expect_same_values(const CheckpointPart& source, const SafetensorsFile& stored) {
  for (const TensorInfo& info : stored.tensors()) {
    const TensorInfo* original = source.find(info.name);
    ASSERT_NE(original, nullptr) << info.name;
    std::vector<std::byte> bytes(original->num_bytes());
    source.checkpoint->read(original->name, bytes);
    const ConstTensorView view = stored.view(info.name);
    std::vector<float> got(static_cast<size_t>(view.shape.num_elements()));
    std::vector<float> wanted(got.size());
    copy_to_f32(view, got);
    copy_to_f32({bytes.data(), original->dtype, original->shape}, wanted);
    if (view.dtype == DType::kBF16) {
      std::ranges::transform(wanted, wanted.begin(),
                             [](float value) { return to_f32(to_bf16(value)); });
    }
    EXPECT_EQ(got, wanted) << info.name;
  }
}

}  // namespace nextscale
