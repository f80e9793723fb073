"""The embedded default: a parametric head of our own, posed, dressed, lit and photographed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from synthforge.parameters import HEAD_DIRECTIONS
from synthforge.shards import GeneratorInfo
from workers.flame.model import Flame
from workers.generators.builtin.attributes import Describer
from workers.generators.builtin.background import draw_background
from workers.generators.builtin.dress import identity_look, occlusion, vertex_attributes
from workers.generators.builtin.hair import cut_hair, hair_shell
from workers.generators.builtin.head import BuiltinHead, load_head
from workers.generators.builtin.lens import draw_lens, expose
from workers.generators.builtin.lids import lift_lids, to_resting_lids
from workers.generators.builtin.lighting import Lighting, draw_lighting, white_point
from workers.generators.builtin.movements import coupling_matrix, unit_targets
from workers.generators.builtin.openings import Openings
from workers.generators.builtin.picture import draw_picture
from workers.generators.builtin.presets import preset_vectors
from workers.generators.builtin.shading_inputs import Geometry, Lights, triple
from workers.generators.builtin.surface import measure_surface
from workers.generators.builtin.vertex_stage import SHADOW, light_vertices, ray_matrices
from workers.generators.builtin.worn import dress
from workers.raster.numba_cpu import NumbaRasteriser
from workers.sampling import Rig, face_height
from workers.types import (
    Described,
    FaceParams,
    Float32Array,
    Float64Array,
    Int32Array,
    PosedHeads,
    Topology,
    UInt8Array,
)

CHUNK_SIZE = 8
NECK_JOINT = 1
EYE_JOINTS = (4, 3)  # right, left
SUPERSAMPLING = 2


class BuiltinGenerator:
    """`FaceGenerator` of heads that we dress and light ourselves, on one CPU core.

    Args:
        head: its data; None reads the one that comes with the package.
    """

    def __init__(self, head: BuiltinHead | None = None) -> None:
        self._head = load_head() if head is None else head
        self._flame = Flame(self._head.assets)
        self._rasteriser = NumbaRasteriser()
        self._topology = self._head.topology
        self._surface = measure_surface(self._flame, self._topology, self._rasteriser)
        self._faces = torch.from_numpy(self._surface.faces)
        self._shell = hair_shell(
            self._topology, self._surface.rest, self._surface.fields.skin, self._surface.worn
        )
        self._describer = Describer(
            self._head.shape_names, self._head.expression_names, self._surface
        )
        self._rig = Rig(
            look_at_m=_look_at(self._surface.landmarks),
            face_height_m=face_height(self._surface.rest, self._topology),
            num_betas=self._flame.num_shape,
            num_expression=self._flame.num_expression,
            presets=preset_vectors(self._head.expression_names),
            units=unit_targets(self._head.expression_names),
            coupling=coupling_matrix(self._head.expression_names),
            directions={
                name: self._head.shape_names.index(name)
                for name in HEAD_DIRECTIONS
                if name in self._head.shape_names
            },
            settled=Openings(
                self._head.assets, self._topology.landmarks, self._head.expression_names
            ).settled,
        )

    @property
    def chunk_size(self) -> int:
        """See `FaceGenerator.chunk_size`."""
        return CHUNK_SIZE

    @property
    def device(self) -> torch.device:
        """See `FaceGenerator.device`: its kernels are the processor's."""
        return torch.device("cpu")

    @property
    def topology(self) -> Topology:
        """See `FaceGenerator.topology`."""
        return self._topology

    @property
    def rig(self) -> Rig:
        """See `FaceGenerator.rig`."""
        return self._rig

    def info(self) -> GeneratorInfo:
        """See `FaceGenerator.info`."""
        head = self._head
        return GeneratorInfo(
            kind="builtin",
            versions={head.kind: head.sha256[:12]},
            assets={head.kind: head.sha256},
            licences={head.kind: head.licence},
        )

    def describe(self, face: FaceParams) -> Described:
        """See `FaceGenerator.describe`."""
        return self._describer.describe(face)

    def pose(self, faces: Sequence[FaceParams]) -> PosedHeads:
        """See `FaceGenerator.pose`; hair is cut to `appearance.hair_length`, lids stay
        off the eyeballs.
        """

        def stacked(name: str) -> Tensor:
            return torch.from_numpy(np.stack([getattr(face, name) for face in faces]))

        poses = {
            name: stacked(name) for name in ("neck_pose", "jaw_pose", "leye_pose", "reye_pose")
        }
        mesh = self._flame(stacked("betas"), stacked("expression"), **poses)
        vertices = mesh.vertices.contiguous()
        for row, face in enumerate(faces):
            turn = mesh.joint_transforms[row, NECK_JOINT, :3, :3].double().numpy()
            posed = vertices[row].numpy()
            if self._shell is not None:
                posed[self._shell.vertices] = cut_hair(face, self._shell, posed, turn[:, 1])
            lift_lids(self._surface.lids, posed)
            if self._surface.worn is not None:
                dress(face, self._surface.worn, self._topology, posed, turn)
        return PosedHeads(vertices, mesh.joint_transforms)

    def observe(
        self,
        faces: Sequence[FaceParams],
        heads: PosedHeads,  # noqa: ARG002 - of the protocol
    ) -> Sequence[None]:
        """See `FaceGenerator.observe`: the picture shows the mesh and nothing else."""
        return [None] * len(faces)

    def render(self, faces: Sequence[FaceParams], heads: PosedHeads) -> Tensor:
        """See `FaceGenerator.render`."""
        pictures = [
            self._draw(face, heads.vertices[row].numpy(), heads.joint_transforms[row].numpy())
            for row, face in enumerate(faces)
        ]
        return torch.from_numpy(np.stack(pictures))

    def _draw(
        self, params: FaceParams, vertices: Float32Array, transforms: Float32Array
    ) -> UInt8Array:
        lighting = draw_lighting(params)
        camera, surface = params.camera, self._surface
        turn = camera.world2cam[:3, :3]
        vertices_cam = vertices.astype(np.float64) @ turn.T + camera.world2cam[:3, 3]
        attributes = vertex_attributes(params, surface, self._describer.ageing(params))
        illumination = light_vertices(
            vertices_cam,
            surface.faces,
            occlusion(params, surface),
            lighting,
            self._rasteriser,
            attributes,
        )
        depth = np.float32(params.scalars["light.shadow"])
        attributes[:, SHADOW] = 1.0 - depth * (1.0 - attributes[:, SHADOW])
        head_turn = transforms[NECK_JOINT, :3, :3].astype(np.float64)
        eye_turns = transforms[list(EYE_JOINTS), :3, :3].astype(np.float64)
        geometry = Geometry(
            faces=surface.faces,
            uv_faces=self._topology.uv_faces,
            uv=self._topology.uv,
            face_material=surface.face_material,
            attributes=attributes,
            ray_matrices=ray_matrices(vertices_cam, surface.faces),
            face_id=self._visible_faces(params, vertices_cam),
            intrinsics=camera.intrinsics_px,
            axes=turn @ head_turn,
        )
        look = identity_look(
            params,
            surface,
            (turn @ eye_turns, head_turn.T @ eye_turns),
            to_resting_lids(surface.lids, vertices, head_turn),
        )
        picture = draw_picture(geometry, _lights(lighting), look, draw_background(params))
        return expose(
            picture, draw_lens(params, white_point(params, lighting), illumination), params
        )

    def _visible_faces(self, params: FaceParams, vertices_cam: Float64Array) -> Int32Array:
        camera = params.camera
        scale = np.array([[SUPERSAMPLING], [SUPERSAMPLING], [1.0]])
        return self._rasteriser.first_faces(
            torch.from_numpy(vertices_cam)[None],
            self._faces,
            torch.from_numpy(camera.intrinsics_px * scale)[None],
            SUPERSAMPLING * camera.height_px,
            SUPERSAMPLING * camera.width_px,
        )[0].numpy()


def _look_at(landmarks: Float64Array) -> Float64Array:
    """(3,) between the eyes and the nose's tip, a little inside the head."""
    middle = landmarks.mean(0)
    return np.array([0.0, middle[1] + 0.008, middle[2] - 0.05])


def _lights(lighting: Lighting) -> Lights:
    return Lights(
        key=triple(lighting.key_direction),
        key_rgb=triple(lighting.key_rgb),
        key_cosine=float(np.cos(2.0 * lighting.key_half_angle)),
        sky_rgb=triple(lighting.sky_rgb),
        ground_rgb=triple(lighting.ground_rgb),
        window=triple(lighting.window_direction),
        window_rgb=triple(lighting.window_rgb),
    )
