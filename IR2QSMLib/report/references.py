"""The papers behind the steps of a map, as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

DOI = re.compile(r"10\.\d{4,9}/[^\s,;]*[^\s,;.]")
"""A DOI in a text."""


class Reference(NamedTuple):
    """One paper."""

    key: str
    """Key of its BibTeX entry."""
    short: str
    """As a text names it."""
    authors: str
    title: str
    journal: str
    """Or the title of the proceedings."""
    year: int
    doi: str
    kind: str = "article"

    def sentence(self) -> str:
        """As a list of references has it."""
        authors = self.authors.strip("{}").replace(" and ", "; ")
        return f"{authors}. {self.title}. {self.journal} {self.year}. doi:{self.doi}"

    def bibtex(self) -> str:
        """Its entry."""
        where = "journal" if self.kind == "article" else "booktitle"
        fields = {"author": self.authors, "title": f"{{{self.title}}}", where: self.journal, "year": str(self.year)}
        lines = [f"  {name} = {{{value}}}" for name, value in (fields | {"doi": self.doi}).items()]
        return f"@{self.kind}{{{self.key},\n" + ",\n".join(lines) + "\n}"


_PAPERS = (
    Reference(
        "li2025ir2qsm",
        "Li et al. 2025",
        "Li, Min and Chen, Chen and Xiong, Zhuang and Liu, Yin and Rong, Pengfei and Shan, Shanshan and Liu, Feng and "
        "Sun, Hongfu and Gao, Yang",
        "Quantitative susceptibility mapping via deep neural networks with iterative reverse concatenations and "
        "recurrent modules",
        "Medical Physics",
        2025,
        "10.1002/mp.17747",
    ),
    Reference(
        "ronneberger2015unet",
        "Ronneberger et al. 2015",
        "Ronneberger, Olaf and Fischer, Philipp and Brox, Thomas",
        "U-Net: Convolutional Networks for Biomedical Image Segmentation",
        "Medical Image Computing and Computer-Assisted Intervention (MICCAI)",
        2015,
        "10.1007/978-3-319-24574-4_28",
        "inproceedings",
    ),
    Reference(
        "gao2021xqsm",
        "Gao et al. 2021",
        "Gao, Yang and Zhu, Xuanyu and Moffat, Bradford A. and Glarin, Rebecca and Wilman, Alan H. and Pike, G. Bruce "
        "and Crozier, Stuart and Liu, Feng and Sun, Hongfu",
        "xQSM: quantitative susceptibility mapping with octave convolutional and noise-regularized neural networks",
        "NMR in Biomedicine",
        2021,
        "10.1002/nbm.4461",
    ),
    Reference(
        "lai2020lpcnn",
        "Lai et al. 2020",
        "Lai, Kuo-Wei and Aggarwal, Manisha and van Zijl, Peter and Li, Xu and Sulam, Jeremias",
        "Learned Proximal Networks for Quantitative Susceptibility Mapping",
        "Medical Image Computing and Computer Assisted Intervention (MICCAI)",
        2020,
        "10.1007/978-3-030-59713-9_13",
        "inproceedings",
    ),
    Reference(
        "feng2021modlqsm",
        "Feng et al. 2021",
        "Feng, Ruimin and Zhao, Jiayi and Wang, He and Yang, Baofeng and Feng, Jie and Shi, Yuting and Zhang, Ming and "
        "Liu, Chunlei and Zhang, Yuyao and Zhuang, Jie and Wei, Hongjiang",
        "MoDL-QSM: Model-based deep learning for quantitative susceptibility mapping",
        "NeuroImage",
        2021,
        "10.1016/j.neuroimage.2021.118376",
    ),
    Reference(
        "shmueli2009tkd",
        "Shmueli et al. 2009",
        "Shmueli, Karin and de Zwart, Jacco A. and van Gelderen, Peter and Li, Tie-Qiang and Dodd, Stephen J. and "
        "Duyn, Jeff H.",
        "Magnetic susceptibility mapping of brain tissue in vivo using MRI phase data",
        "Magnetic Resonance in Medicine",
        2009,
        "10.1002/mrm.22135",
    ),
    Reference(
        "bilgic2014l1",
        "Bilgic et al. 2014",
        "Bilgic, Berkin and Fan, Audrey P. and Polimeni, Jonathan R. and Cauley, Stephen F. and Bianciardi, Marta and "
        "Adalsteinsson, Elfar and Wald, Lawrence L. and Setsompop, Kawin",
        "Fast quantitative susceptibility mapping with L1-regularization and automatic parameter selection",
        "Magnetic Resonance in Medicine",
        2014,
        "10.1002/mrm.25029",
    ),
    Reference(
        "milovic2018fansi",
        "Milovic et al. 2018",
        "Milovic, Carlos and Bilgic, Berkin and Zhao, Bo and Acosta-Cabronero, Julio and Tejos, Cristian",
        "Fast nonlinear susceptibility inversion with variational regularization",
        "Magnetic Resonance in Medicine",
        2018,
        "10.1002/mrm.27073",
    ),
    Reference(
        "li2015ilsqr",
        "Li et al. 2015",
        "Li, Wei and Wang, Nian and Yu, Fang and Han, Hui and Cao, Wei and Romero, Rebecca and Tantiwongkosi, Bundhit "
        "and Duong, Timothy Q. and Liu, Chunlei",
        "A method for estimating and removing streaking artifacts in quantitative susceptibility mapping",
        "NeuroImage",
        2015,
        "10.1016/j.neuroimage.2014.12.043",
    ),
    Reference(
        "liu2012medi",
        "Liu et al. 2012",
        "Liu, Jing and Liu, Tian and de Rochefort, Ludovic and Ledoux, James and Khalidov, Ildar and Chen, Weiwei and "
        "Tsiouris, A. John and Wisnieff, Cynthia and Spincemaille, Pascal and Prince, Martin R. and Wang, Yi",
        "Morphology enabled dipole inversion for quantitative susceptibility mapping using structural consistency "
        "between the magnitude image and the susceptibility map",
        "NeuroImage",
        2012,
        "10.1016/j.neuroimage.2011.08.082",
    ),
    Reference(
        "liu2013nonlinear",
        "Liu et al. 2013",
        "Liu, Tian and Wisnieff, Cynthia and Lou, Min and Chen, Weiwei and Spincemaille, Pascal and Wang, Yi",
        "Nonlinear formulation of the magnetic field to source relationship for robust quantitative susceptibility "
        "mapping",
        "Magnetic Resonance in Medicine",
        2013,
        "10.1002/mrm.24272",
    ),
    Reference(
        "abdulrahman2007unwrapping",
        "Abdul-Rahman et al. 2007",
        "Abdul-Rahman, Hussein S. and Gdeisat, Munther A. and Burton, David R. and Lalor, Michael J. and Lilley, "
        "Francis and Moore, Christopher J.",
        "Fast and robust three-dimensional best path phase unwrapping algorithm",
        "Applied Optics",
        2007,
        "10.1364/AO.46.006623",
    ),
    Reference(
        "schofield2003laplacian",
        "Schofield and Zhu 2003",
        "Schofield, Marvin A. and Zhu, Yimei",
        "Fast phase unwrapping algorithm for interferometric applications",
        "Optics Letters",
        2003,
        "10.1364/OL.28.001194",
    ),
    Reference(
        "robinson2017phase",
        "Robinson et al. 2017",
        "Robinson, Simon Daniel and Bredies, Kristian and Khabipova, Diana and Dymerska, Barbara and Marques, "
        "José P. and Schweser, Ferdinand",
        "An illustrated comparison of processing methods for MR phase imaging and QSM: combining array coil signals "
        "and phase unwrapping",
        "NMR in Biomedicine",
        2017,
        "10.1002/nbm.3601",
    ),
    Reference(
        "li2015bipolar",
        "Li et al. 2015",
        "Li, Jianqi and Chang, Shixin and Liu, Tian and Jiang, Hongwei and Dong, Fang and Pei, Mengchao and Wang, "
        "Qianfeng and Wang, Yi",
        "Phase-corrected bipolar gradients in multi-echo gradient-echo sequences for quantitative susceptibility "
        "mapping",
        "Magnetic Resonance Materials in Physics, Biology and Medicine",
        2015,
        "10.1007/s10334-014-0470-3",
    ),
    Reference(
        "wu2012vsharp",
        "Wu et al. 2012",
        "Wu, Bing and Li, Wei and Guidon, Arnaud and Liu, Chunlei",
        "Whole brain susceptibility mapping using compressed sensing",
        "Magnetic Resonance in Medicine",
        2012,
        "10.1002/mrm.23000",
    ),
    Reference(
        "zhou2014lbv",
        "Zhou et al. 2014",
        "Zhou, Dong and Liu, Tian and Spincemaille, Pascal and Wang, Yi",
        "Background field removal by solving the Laplacian boundary value problem",
        "NMR in Biomedicine",
        2014,
        "10.1002/nbm.3064",
    ),
    Reference(
        "liu2011pdf",
        "Liu et al. 2011",
        "Liu, Tian and Khalidov, Ildar and de Rochefort, Ludovic and Spincemaille, Pascal and Liu, Jing and Tsiouris, "
        "A. John and Wang, Yi",
        "A novel background field removal method for MRI using projection onto dipole fields (PDF)",
        "NMR in Biomedicine",
        2011,
        "10.1002/nbm.1670",
    ),
    Reference(
        "liu2017tfi",
        "Liu et al. 2017",
        "Liu, Zhe and Kee, Youngwook and Zhou, Dong and Wang, Yi and Spincemaille, Pascal",
        "Preconditioned total field inversion (TFI) method for quantitative susceptibility mapping",
        "Magnetic Resonance in Medicine",
        2017,
        "10.1002/mrm.26331",
    ),
    Reference(
        "liu2018medi0",
        "Liu et al. 2018",
        "Liu, Zhe and Spincemaille, Pascal and Yao, Yihao and Zhang, Yan and Wang, Yi",
        "MEDI+0: Morphology enabled dipole inversion with automatic uniform cerebrospinal fluid zero reference for "
        "quantitative susceptibility mapping",
        "Magnetic Resonance in Medicine",
        2018,
        "10.1002/mrm.26946",
    ),
    Reference(
        "qsmconsensus2024",
        "QSM Consensus Organization Committee 2024",
        "{QSM Consensus Organization Committee}",
        "Recommended implementation of quantitative susceptibility mapping for clinical research in the brain: A "
        "consensus of the ISMRM electro-magnetic tissue properties study group",
        "Magnetic Resonance in Medicine",
        2024,
        "10.1002/mrm.30006",
    ),
)
REFERENCES = {paper.doi: paper for paper in _PAPERS}
"""By DOI."""


def references_in(text: str) -> list[Reference]:
    """The papers whose DOIs stand in a text, in their order; DOIs that are not in `REFERENCES` are left out."""
    return unique(REFERENCES[doi] for doi in DOI.findall(text) if doi in REFERENCES)


def unique(papers: Iterable[Reference]) -> list[Reference]:
    """Each paper once, in the order of the first."""
    return list(dict.fromkeys(papers))
